"""Simulated clicks, by the rule of interactive-segmentation benchmarks (RITM, Sofiiuk et al. 2021).

The next click is the maximum of the distance transform of the false negatives or of the false positives, whichever
maximum is larger.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import cv2
import numpy as np

from mobilesam.arrays import BoolArray
from mobilesam.evaluate.metrics import tight_box


class Click(NamedTuple):
    """A pixel of the image; ``foreground`` says whether it is on the object."""

    x: int
    y: int
    foreground: bool


def next_click(prediction: BoolArray, truth: BoolArray, earlier: Collection[Click] = ()) -> Click | None:
    """Return the next click for a (H, W) prediction, or None if no wrong pixel is left that was not clicked yet."""
    missed, missed_depth = _deepest(truth & ~prediction, earlier)
    wrong, wrong_depth = _deepest(prediction & ~truth, earlier)
    if max(missed_depth, wrong_depth) == 0:
        return None
    return Click(*missed, True) if missed_depth > wrong_depth else Click(*wrong, False)


def center_click(truth: BoolArray) -> Click:
    """Return the click at the maximum of the distance transform of a mask that is not empty."""
    click = next_click(np.zeros_like(truth), truth)
    assert click is not None, "an empty mask has no center"
    return click


def _deepest(region: BoolArray, earlier: Collection[Click]) -> tuple[tuple[int, int], float]:
    """Return (x, y) of the pixel furthest from the outside of ``region``, and that distance (0 if there is none)."""
    if not region.any():
        return (0, 0), 0.0
    left, top, right, bottom = tight_box(region).astype(int)
    # The ring of zeros makes the image's border an edge of the object.
    crop = np.pad(region[top:bottom, left:right], 1).astype(np.uint8)
    depth = cv2.distanceTransform(crop, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1].copy()
    for click in earlier:
        if left <= click.x < right and top <= click.y < bottom:
            depth[click.y - top, click.x - left] = 0
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return (int(column + left), int(row + top)), float(depth[row, column])
