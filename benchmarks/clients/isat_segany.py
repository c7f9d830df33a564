"""ISAT 1.5: its class SegAny with the copy of MobileSAM that it contains, and with mobilesam in its place.

In an environment with isat-sam, torch, torchvision, the requirements of mobilesam and this checkout:

    QT_QPA_PLATFORM=offscreen python -m benchmarks.clients.isat_segany CHECKPOINT.pt IMAGE

The name of the checkpoint must contain ``mobile_sam``, by which ISAT recognizes it.
"""

from __future__ import annotations

import sys

import imageio.v3 as imageio
import numpy as np

from benchmarks.clients import substitute

COPY = "ISAT.segment_any.mobile_sam"


def main() -> None:
    """Segment with both in float32 and bfloat16 and print how many pixels differ; fail if float32 differs."""
    checkpoint, path = sys.argv[1:]
    image = imageio.imread(path)[..., :3]
    results = [masks(checkpoint, image)]
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{COPY}.")]:
        del sys.modules[name]
    substitute.install(names=(COPY,))
    results.append(masks(checkpoint, image))
    for name, reference in results[0].items():
        apart = int((results[1][name] != reference).sum())
        print(f"{name}: {reference.sum()} pixels, {apart} differ")
        if name.endswith("float32") and apart > 2:
            raise SystemExit("Some masks differ.")


def masks(checkpoint: str, image: np.ndarray) -> dict[str, np.ndarray]:
    """Return the masks of a click, refined as ISAT does it, and of a box."""
    from ISAT.segment_any.segment_any import SegAny

    height, width = image.shape[:2]
    result = {}
    for dtype in ("float32", "bfloat16"):
        segmenter = SegAny(checkpoint, use_bfloat16=dtype == "bfloat16")
        segmenter.set_image(image)
        result[f"click, {dtype}"] = segmenter.predict_with_point_prompt([[width // 2, height // 2]], [1])
        result[f"box, {dtype}"] = segmenter.predict_with_box_prompt(np.array([20, 20, width - 20, height - 20]))
    return result


if __name__ == "__main__":
    main()
