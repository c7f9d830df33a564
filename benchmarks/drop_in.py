"""Drop-in use: the reference's scripts with one import changed, and segment-anything's classes on this network.

Run in an environment with this package, PyPI's mobilesam-mirror (mobile_sam), segment-anything 1.0, torch and
torchvision:

    python benchmarks/drop_in.py CHECKPOINT.pt IMAGE
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SCRIPTS = Path(__file__).parent / "reference_scripts"


def main() -> None:
    checkpoint, photo = (str(Path(argument).resolve()) for argument in sys.argv[1:])
    warnings.simplefilter("ignore")
    compare_scripts(checkpoint, photo)
    compare_foreign_classes(checkpoint, cv2.cvtColor(cv2.imread(photo), cv2.COLOR_BGR2RGB))


def compare_scripts(checkpoint: str, photo: str) -> None:
    """Run each script as it is, then with its import changed, and compare what they write."""
    with tempfile.TemporaryDirectory() as folder:
        for script in sorted(SCRIPTS.glob("*.py")):
            text = script.read_text()
            results = []
            for package in ("mobile_sam", "mobilesam"):
                changed = Path(folder) / f"{package}_{script.name}"
                changed.write_text(re.sub(r"\bfrom mobile_sam\b", f"from {package}", text))
                out = changed.with_suffix(".npz")
                subprocess.run([sys.executable, "-W", "ignore", changed, checkpoint, photo, out], check=True)
                results.append(np.load(out))
            reference, ours = results
            report(f"script {script.name}", ours["masks"], reference["masks"], ours["scores"], reference["scores"])


def compare_foreign_classes(checkpoint: str, image: Any) -> None:
    """Run the classes of segment-anything 1.0 with both networks."""
    import mobile_sam
    import torch
    from segment_anything import SamAutomaticMaskGenerator, SamPredictor
    from segment_anything.utils.onnx import SamOnnxModel

    import mobilesam

    networks = [
        mobilesam.sam_model_registry["vit_t"](checkpoint=checkpoint),
        mobile_sam.sam_model_registry["vit_t"](checkpoint=checkpoint).eval(),
    ]
    height, width = image.shape[:2]
    point, label = np.array([[width // 2, height // 2]]), np.array([1])

    predictors = [SamPredictor(network) for network in networks]
    for predictor in predictors:
        predictor.set_image(image)
    (ours, our_scores, _), (theirs, their_scores, _) = (p.predict(point, label) for p in predictors)
    report("segment_anything.SamPredictor", ours, theirs, our_scores, their_scores)

    ours, theirs = (SamAutomaticMaskGenerator(network, points_per_side=8).generate(image) for network in networks)
    report(
        "segment_anything.SamAutomaticMaskGenerator 8x8",
        *(np.stack([record["segmentation"] for record in records]) for records in (ours, theirs)),
        *([record["predicted_iou"] for record in records] for records in (ours, theirs)),
    )

    frame = predictors[0].transform.apply_coords(point.astype(float), (height, width))
    inputs = (
        predictors[1].features,
        torch.tensor(np.concatenate([frame, [[0, 0]]])[None], dtype=torch.float32),
        torch.tensor([[1.0, -1.0]]),
        torch.zeros(1, 1, 256, 256),
        torch.zeros(1),
        torch.tensor([height, width], dtype=torch.float32),
    )
    with torch.no_grad():
        ours, theirs = (SamOnnxModel(network, return_single_mask=False)(*inputs) for network in networks)
    report("segment_anything SamOnnxModel", (ours[0] > 0).numpy(), (theirs[0] > 0).numpy(), ours[1], theirs[1])


def report(name: str, ours: Any, theirs: Any, our_scores: Any, their_scores: Any) -> None:
    """Print the differences of two results, and fail if they are not the same."""
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    pixels = int((ours != theirs).sum())
    scores = float(np.abs(np.asarray(our_scores) - np.asarray(their_scores)).max())
    print(f"{name}: {len(ours)} masks, {pixels} of {ours.size} pixels differ, scores differ by at most {scores:.1e}")
    assert pixels <= 1e-5 * ours.size + 2, name
    assert scores < 1e-3, name


if __name__ == "__main__":
    main()
