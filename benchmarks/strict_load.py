"""Checkpoints between this package and PyPI's mobilesam-mirror: strict loading both ways, and the same masks.

Run in an environment with this package, torch and scikit-image; REFERENCE is the Python of one with
mobilesam-mirror:

    python -m benchmarks.strict_load REFERENCE [CHECKPOINT]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

POINTS = [[250, 180], [400, 300], [60, 420]]
BOX = [120, 20, 340, 500]


def main() -> None:
    from skimage import data

    import mobilesam
    from mobilesam import weights
    from mobilesam.weights import checkpoint

    reference, *given = sys.argv[1:]
    source = checkpoint.read(given[0] if given else weights.ensure())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "image.npy", data.astronaut())
        checkpoint.write(folder / "ours.pt", source.state)
        subprocess.run([reference, "-W", "ignore", __file__, "--reference", folder], check=True)
        back = checkpoint.read(folder / "theirs.pt")
        print(f"their file, read here: {len(back.state)} tensors, equal: {back.weights_id == source.weights_id}")
        for theirs in (folder / "ours.pt", folder / "theirs.pt"):
            network = mobilesam.sam_model_registry["vit_t"](checkpoint=theirs)
            own = predict(mobilesam.SamPredictor(network), data.astronaut())
            compare(theirs.name, own, np.load(folder / "theirs.npz"))


def in_reference(folder: Path) -> None:
    """Load this package's file as the reference does, then write the reference's own, and its masks."""
    import torch
    from mobile_sam import SamPredictor, sam_model_registry

    network = sam_model_registry["vit_t"]()
    print("our file, loaded there:", network.load_state_dict(torch.load(folder / "ours.pt"), strict=True))
    network = sam_model_registry["vit_t"](checkpoint=str(folder / "ours.pt"))
    network.eval()  # again, after loading: its attention biases are cached by eval()
    torch.save(network.state_dict(), folder / "theirs.pt")
    np.savez(folder / "theirs.npz", **predict(SamPredictor(network), np.load(folder / "image.npy")))


def predict(predictor: Any, image: np.ndarray) -> dict[str, np.ndarray]:
    """Segment by points and by a box; masks, scores and logits by name."""
    predictor.set_image(image)
    result = {"embedding": np.asarray(predictor.get_image_embedding().detach())}
    prompts: list[dict[str, Any]] = [
        {"point_coords": np.array([point]), "point_labels": np.array([1])} for point in POINTS
    ]
    for index, prompt in enumerate([*prompts, {"box": np.array(BOX)}]):
        masks, scores, logits = predictor.predict(**prompt)
        result |= {f"masks {index}": masks, f"scores {index}": scores, f"logits {index}": logits}
    return result


def compare(name: str, ours: dict[str, np.ndarray], theirs: Any) -> None:
    largest = {"embedding": 0.0, "scores": 0.0, "logits": 0.0}
    lowest = 1.0
    for key in theirs.files:
        kind = key.split()[0]
        if kind == "masks":
            union, both = ours[key] | theirs[key], ours[key] & theirs[key]
            lowest = min(lowest, *(both.sum(axis=(1, 2)) / union.sum(axis=(1, 2))))
        else:
            largest[kind] = max(largest[kind], float(abs(ours[key] - theirs[key]).max()))
    gaps = ", ".join(f"{kind} {gap:.1e}" for kind, gap in largest.items())
    print(f"{name}, here against there: lowest mask IoU {lowest:.5f}; largest difference: {gaps}")


if __name__ == "__main__":
    if sys.argv[1] == "--reference":
        warnings.simplefilter("ignore")  # it registers its models over timm's
        in_reference(Path(sys.argv[2]))
    else:
        main()
