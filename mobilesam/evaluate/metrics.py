"""Measures of agreement: IoU, boundary IoU, number of clicks, and calibration of the predicted IoU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mobilesam.arrays import BoolArray, FloatArray64

SMALL_AREA, LARGE_AREA = 32**2, 96**2  # COCO's limits, in pixels
BOUNDARY_RATIO = 0.02  # of the image's diagonal (Cheng et al. 2021, Boundary IoU, section 5)


class Bin(NamedTuple):
    """Predictions whose predicted IoU lies in [low, high), the last bin closed."""

    low: float
    high: float
    instances: int
    mean_predicted: float
    mean_true: float


def tight_box(mask: BoolArray) -> FloatArray64:
    """Return x1 y1 x2 y2 around a mask that is not empty; x2 and y2 lie one past the last pixel, as in COCO boxes."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def iou(prediction: BoolArray, truth: BoolArray) -> float:
    """Return the intersection over union of two (H, W) masks; 1 for two empty masks."""
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
    kernel = np.ones((3, 3), np.uint8)
    pixels = mask.astype(np.uint8)
    eroded = cv2.erode(pixels, kernel, iterations=width, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    border: BoolArray = mask & (eroded == 0)
    return border


def size_class(area: int) -> str:
    """Return "small", "medium" or "large" for an area in pixels, with COCO's limits."""
    return "small" if area < SMALL_AREA else "medium" if area < LARGE_AREA else "large"


def number_of_clicks(ious: Sequence[float], target: float, max_clicks: int) -> int:
    """Return the number of clicks after which the IoU reaches ``target``, or ``max_clicks`` if it never does.

    ious: the IoU after each click.
    """
    return next((number for number, value in enumerate(ious, 1) if value >= target), max_clicks)


def calibration(predicted: Sequence[float], true: Sequence[float], bins: int = 10) -> list[Bin]:
    """Return the mean predicted and true IoU in ``bins`` equal intervals of the predicted IoU, without empty ones."""
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
    gaps = sum(abs(entry.mean_predicted - entry.mean_true) * entry.instances for entry in bins)
    return gaps / sum(entry.instances for entry in bins) if bins else 0.0
