"""Removal of small holes and islands of masks, with OpenCV in the mask's own window."""

from __future__ import annotations

import cv2
import numpy as np

from mobilesam.arrays import AnyIntArray, BoolArray
from mobilesam.errors import InputError, unknown_name
from mobilesam.masks import rle


def remove_small_regions(mask: BoolArray, area_thresh: float, mode: str) -> tuple[BoolArray, bool]:
    """Fill holes, or remove islands, of fewer than ``area_thresh`` pixels; return the mask and whether it changed.

    Pixels that touch at corners are connected. The largest island is kept, however small it is.

    Args:
        mask: (H, W) bool.
        mode: "holes" or "islands".
    """
    if mode not in ("holes", "islands"):
        raise InputError(unknown_name("mode", mode, ("holes", "islands")))
    searched = ~mask if mode == "holes" else mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(searched.astype(np.uint8), connectivity=8)
    sizes = np.asarray(stats)[1:, cv2.CC_STAT_AREA]  # label 0 is the background
    small = sizes < area_thresh
    if not small.any():
        return mask, False
    if mode == "islands" and small.all():
        small[np.argmax(sizes)] = False
    changed = np.concatenate([[False], small])[np.asarray(labels)]
    return mask ^ changed, True


def clean(boundaries: AnyIntArray, hw: tuple[int, int], min_area: float) -> tuple[AnyIntArray, bool]:
    """Fill holes and then remove islands below ``min_area`` pixels; return boundaries and whether they changed."""
    height, width = hw
    x1, y1, x2, y2 = rle.box(boundaries, height)
    # The window of the mask has a margin of one pixel, which connects the background around the mask. On a side where
    # all of the image beyond the mask has less than min_area pixels and might be a hole, the window extends to the edge
    # of the image.
    x1 = 0 if x1 * height < min_area else x1 - 1
    y1 = 0 if y1 * width < min_area else y1 - 1
    x2 = width if (width - x2 - 1) * height < min_area else x2 + 2
    y2 = height if (height - y2 - 1) * width < min_area else y2 + 2
    window = rle.columns_of(boundaries, height, x1, x2)[y1:y2]
    margin = np.zeros_like(window)
    margin[:, 0] |= x1 > 0
    margin[:, -1] |= x2 < width
    margin[0] |= y1 > 0
    margin[-1] |= y2 < height
    filled, holes = remove_small_regions(window, min_area, "holes")
    if holes:
        # Background that touches the margin continues outside the window and is no hole.
        kept = _connected(~window, margin)
        filled, holes = filled & ~kept, bool((filled & ~kept).sum() != window.sum())
    cleaned, islands = remove_small_regions(filled, min_area, "islands")
    if not (holes or islands):
        return boundaries, False
    return rle.boundaries_of_columns(cleaned.T, (x1, y1), height), True


def _connected(region: BoolArray, seeds: BoolArray) -> BoolArray:
    """Return the connected parts of a region that contain a seed."""
    _, labels = cv2.connectedComponents(region.astype(np.uint8), connectivity=8)
    wanted = np.unique(np.asarray(labels)[seeds & region])
    return np.isin(labels, wanted)
