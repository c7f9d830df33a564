"""supervision: detections from the masks of the generator, and annotated images, with both packages.

In an environment with supervision, mobilesam-mirror 1.0.0, torch, torchvision, timm and this checkout:

    python -m benchmarks.clients.supervision_detections CHECKPOINT.pt IMAGE
"""

from __future__ import annotations

import numpy as np

from benchmarks.clients.both import Masks, compare


def run(checkpoint: str, path: str) -> Masks:
    """Return the mask of each detection as a label map, and where an annotated image differs from the image."""
    import imageio.v3 as imageio
    import supervision as sv
    from mobile_sam import SamAutomaticMaskGenerator, sam_model_registry

    image = imageio.imread(path)[..., :3]
    sam = sam_model_registry["vit_t"](checkpoint=checkpoint)
    sam.eval()
    detections = sv.Detections.from_sam(SamAutomaticMaskGenerator(sam, points_per_side=10).generate(image))
    labels = np.zeros(image.shape[:2], np.int32)
    for number, mask in enumerate(detections.mask, start=1):
        labels[mask] = number
    scene = sv.MaskAnnotator(color_lookup=sv.ColorLookup.INDEX).annotate(image.copy(), detections)
    return {"detections": labels, "annotated": (scene != image).any(axis=-1)}


if __name__ == "__main__":
    compare("benchmarks.clients.supervision_detections", run)
