"""COCO's segmentations read in their three forms: polygons, run lengths, compressed run lengths."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mobilesam.arrays import BoolArray
from mobilesam.errors import InputError
from mobilesam.files import is_number
from mobilesam.masks.rle import mask_of, rle_to_mask
from mobilesam.masks.run_lengths import WRONG_COUNTS, boundaries_of_text

# pycocotools walks along a polygon's edges in steps of a fifth of a pixel, counted in 32 bits and all held in memory.
_FARTHEST = 1e7  # from the origin, in pixels
_LONGEST = 2**25  # of the edges of one polygon together, in pixels


def decode_segmentation(segmentation: Any, hw: tuple[int, int]) -> BoolArray:
    """Return the (H, W) bool mask of an annotation's ``segmentation``.

    Raises:
        InputError: it is missing, malformed, or made for an image of another size.
    """
    if isinstance(segmentation, list) and segmentation:
        return _from_polygons(segmentation, hw)
    if isinstance(segmentation, dict) and "counts" in segmentation:
        return _from_run_lengths(segmentation, hw)
    raise InputError(
        "segmentation is missing or empty" if not segmentation else "segmentation is neither polygons nor an RLE"
    )


def _from_polygons(polygons: list[Any], hw: tuple[int, int]) -> BoolArray:
    for polygon in polygons:
        # Checked here because pycocotools takes a list of four numbers for a box and others on trust.
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise InputError("a polygon must be a list of at least three x y pairs")
        if not all(map(is_number, polygon)):
            raise InputError("a polygon must hold finite numbers only")
        corners = np.array(polygon, np.float64).reshape(-1, 2)
        edges = np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1)
        if np.abs(corners).max() > _FARTHEST or edges.sum() > _LONGEST:
            raise InputError("a polygon must lie near its image")
    union = coco_mask.merge(coco_mask.frPyObjects(polygons, *hw))
    return _from_run_lengths({"size": union["size"], "counts": union["counts"].decode("ascii")}, hw)


def _from_run_lengths(rle: dict[str, Any], hw: tuple[int, int]) -> BoolArray:
    size = rle.get("size")
    if not isinstance(size, list) or size != list(hw):
        raise InputError(f"the RLE is for height and width {reprlib.repr(size)}, the image has {list(hw)}")
    counts = rle["counts"]
    if isinstance(counts, str):
        return mask_of(boundaries_of_text(counts, hw), hw)
    # pycocotools returns uninitialized memory for runs that do not fill the frame, so the sum is checked first.
    valid = isinstance(counts, list) and all(is_number(run) and isinstance(run, int) and run >= 0 for run in counts)
    if not valid or sum(counts) != hw[0] * hw[1]:
        raise InputError(WRONG_COUNTS)
    return rle_to_mask({"size": hw, "counts": counts})
