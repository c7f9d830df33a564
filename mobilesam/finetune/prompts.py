"""Simulated prompts: boxes and clicks as people make them, and corrections of the largest error.

Coordinates are x y in pixels of the model frame. All draws come from the generator that is passed.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mobilesam.arrays import BoolArray, FloatArray
from mobilesam.evaluate.clicks import Click, center_click, next_click
from mobilesam.finetune.objects import Target

EXACT = 0.5  # share of boxes that are exact, and of clicks on the innermost pixel
EDGE_DEVIATION, MOST_PIXELS = 0.1, 20.0  # of an inexact box: in its sides, and at most so far (SAM, section A)

Points = list[tuple[float, float, int]]  # x, y, label


def draw_box(target: Target, random: np.random.Generator) -> FloatArray:
    """Return the box of an object, (4,) x1 y1 x2 y2, exact or with moved edges."""
    box = target.box.astype(np.float32)
    if random.random() < EXACT:
        return box
    sides = np.tile(box[2:] - box[:2], 2)
    moved = box + np.clip(random.normal(0, EDGE_DEVIATION, 4) * sides, -MOST_PIXELS, MOST_PIXELS)
    low, high = np.minimum(moved[:2], moved[2:] - 1), np.maximum(moved[2:], moved[:2] + 1)
    return np.concatenate([low, high]).astype(np.float32)


def draw_click(target: Target, random: np.random.Generator) -> tuple[float, float, int]:
    """Return a click on an object: its innermost pixel, or any, the more likely the further inside it is."""
    x1, y1, *_ = target.box.tolist()
    crop = target.crop
    if random.random() < EXACT:
        x, y, _ = center_click(crop)
        return float(x + x1), float(y + y1), 1
    depth = cv2.distanceTransform(np.pad(crop, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)[1:-1, 1:-1]
    rows, columns = np.nonzero(crop)
    weights = depth[rows, columns].astype(np.float64)
    place = random.choice(len(rows), p=weights / weights.sum())
    return float(columns[place] + x1), float(rows[place] + y1), 1


def correction(prediction: BoolArray, coverage: FloatArray, size: int) -> tuple[float, float, int]:
    """Return the click on the largest error of a mask.

    Args:
        prediction: (s, s) bool, a mask of logits.
        coverage: (s, s), of the object; see :meth:`mobilesam.finetune.objects.Target.coverage`.
        size: side of the model frame.
    """
    truth: BoolArray = coverage > 0.5
    if not truth.any():
        truth = coverage == coverage.max()
    click: Click = next_click(prediction, truth) or center_click(truth)
    cell = size / len(coverage)
    return (click.x + 0.5) * cell - 0.5, (click.y + 0.5) * cell - 0.5, int(click.foreground)


def stack(points: Sequence[Points]) -> tuple[FloatArray, FloatArray]:
    """Return coordinates, (B, N, 2), and labels, (B, N), of prompts with equal numbers of points."""
    values = np.array(points, np.float32)
    return values[..., :2], values[..., 2]
