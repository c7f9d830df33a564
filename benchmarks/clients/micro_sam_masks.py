"""micro-sam 1.8: nine of its ways to a mask, with the reference and with mobilesam, compared bit for bit.

In an environment with micro-sam, mobilesam-mirror 1.0.0, torch, torchvision, timm and this checkout:

    python -m benchmarks.clients.micro_sam_masks CHECKPOINT.pt IMAGE

The reference stands for ``segment_anything`` too. In PyPI's segment-anything 1.0, ``apply_image_torch`` makes a square
of every image, which changes the mask prompts of micro-sam; SAM's repository has corrected it since.
"""

from __future__ import annotations

import tempfile

import numpy as np

from benchmarks.clients.both import Masks, compare


def run(checkpoint: str, path: str) -> Masks:
    """Return a mask, or labels of instances, for each function of micro-sam."""
    import imageio.v3 as imageio
    from micro_sam import prompt_based_segmentation as prompts
    from micro_sam.instance_segmentation import AutomaticMaskGenerator, TiledAutomaticMaskGenerator
    from micro_sam.util import get_sam_model, precompute_image_embeddings, set_precomputed

    image = imageio.imread(path)
    height, width = image.shape[:2]
    predictor = get_sam_model(model_type="vit_t", checkpoint_path=checkpoint, device="cpu")
    predictor.model.eval()  # again: mobile_sam caches attention biases in eval(), which micro-sam calls before loading
    stored = tempfile.mkdtemp()
    embeddings = precompute_image_embeddings(predictor, image, f"{stored}/whole.zarr", ndim=2, verbose=False)
    set_precomputed(predictor, embeddings)
    point = np.array([[height // 2, width // 2]])
    points, labels = np.array([[height // 2, width // 2], [height // 8, width // 8]]), np.array([1, 0])
    box = np.array([height // 8, width // 8, 7 * height // 8, 7 * width // 8])
    masks = {
        "one point": prompts.segment_from_points(predictor, point, np.array([1]), multimask_output=True),
        "points": prompts.segment_from_points(predictor, points, labels),
        "box": prompts.segment_from_box(predictor, box),
        "box and points": prompts.segment_from_box_and_points(predictor, box, points, labels),
    }
    earlier = masks["box"].squeeze()
    masks["mask"] = prompts.segment_from_mask(predictor, earlier, use_box=False, use_mask=True)
    masks["mask, box and points"] = prompts.segment_from_mask(predictor, earlier, use_points=True)
    tile, halo = (height // 2, width // 2), (32, 32)
    tiles = precompute_image_embeddings(
        predictor, image, f"{stored}/tiles.zarr", ndim=2, tile_shape=tile, halo=halo, verbose=False
    )
    masks["box in a tile"] = prompts.segment_from_box(predictor, np.array([20, 20, height // 3, width // 3]), tiles)
    everything = AutomaticMaskGenerator(predictor, points_per_side=12)
    everything.initialize(image, embeddings)
    masks["everything"] = everything.generate(min_mask_region_area=20)
    tiled = TiledAutomaticMaskGenerator(predictor, points_per_side=8)
    tiled.initialize(image, tiles)
    masks["everything, in tiles"] = tiled.generate()
    return masks


if __name__ == "__main__":
    compare("benchmarks.clients.micro_sam_masks", run)
