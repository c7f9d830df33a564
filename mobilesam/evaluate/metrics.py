"""How well a mask, a score and a series of clicks agree with the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mobilesam.arrays import BoolArray
from mobilesam.evaluate.rle import tight_box

SMALL_AREA, LARGE_AREA = 32**2, 96**2  # COCO's limits, in pixels
BOUNDARY_RATIO = 0.02  # of the image's diagonal (Cheng et al. 2021, Boundary IoU, section 5)


class Bin(NamedTuple):
    """Predictions whose predicted IoU lies in [low, high), the last bin closed."""

    low: float
    high: float
    instances: int
    mean_predicted: float
    mean_true: float


def iou(prediction: BoolArray, truth: BoolArray) -> float:
    """Return the intersection over union of two (H, W) masks; two empty masks agree fully."""
    union = np.count_nonzero(prediction | truth)
    return float(np.count_nonzero(prediction & truth) / union) if union else 1.0


def boundary_iou(prediction: BoolArray, truth: BoolArray, ratio: float = BOUNDARY_RATIO) -> float:
    """Return the IoU of the inner borders of two masks, ``ratio`` of the image's diagonal wide, at least a pixel."""
    width = max(1, round(ratio * math.hypot(*truth.shape)))
    if not (prediction.any() or truth.any()):
        return 1.0
    left, top, right, bottom = tight_box(prediction | truth).astype(int)
    crop = np.s_[top:bottom, left:right]
    return iou(_border(prediction[crop], width), _border(truth[crop], width))


def _border(mask: BoolArray, width: int) -> BoolArray:
    eroded = cv2.erode(
        mask.astype(np.uint8),
        np.ones((3, 3), np.uint8),
        iterations=width,
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    border: BoolArray = mask & (eroded == 0)
    return border


def size_class(area: int) -> str:
    """Return "small", "medium" or "large" for an area in pixels, with COCO's limits."""
    if area < SMALL_AREA:
        return "small"
    return "medium" if area < LARGE_AREA else "large"


def number_of_clicks(ious: Sequence[float], target: float, max_clicks: int) -> int:
    """Return how many clicks reached an IoU of ``target``, or ``max_clicks`` if none did.

    ious: the IoU after each click.
    """
    return next((number for number, value in enumerate(ious, 1) if value >= target), max_clicks)


def calibration(predicted: Sequence[float], true: Sequence[float], bins: int = 10) -> list[Bin]:
    """Return the mean predicted and true IoU in ``bins`` equal steps of the predicted IoU, empty ones left out."""
    scores, truths = np.clip(np.asarray(predicted), 0.0, 1.0), np.asarray(true)
    places = np.minimum((scores * bins).astype(int), bins - 1)
    return [
        Bin(
            place / bins,
            (place + 1) / bins,
            int(np.count_nonzero(places == place)),
            float(scores[places == place].mean()),
            float(truths[places == place].mean()),
        )
        for place in np.unique(places).tolist()
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean gap between predicted and true IoU over the bins, weighted by their counts."""
    total = sum(entry.instances for entry in bins)
    return (
        sum(abs(entry.mean_predicted - entry.mean_true) * entry.instances for entry in bins) / total if total else 0.0
    )
