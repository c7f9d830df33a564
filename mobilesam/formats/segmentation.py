"""COCO's segmentations read in their three forms: polygons, run lengths, compressed run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from mobilesam.errors import InputError
from mobilesam.rle import rle_to_mask

BoolMask = npt.NDArray[np.bool_]


def decode_segmentation(segmentation: Any, hw: tuple[int, int]) -> BoolMask:
    """Return the (H, W) bool mask of an annotation's ``segmentation``.

    Raises:
        InputError: it is missing, malformed, or made for a picture of another size.
    """
    if isinstance(segmentation, list) and segmentation:
        return _from_polygons(segmentation, hw)
    if isinstance(segmentation, dict) and "counts" in segmentation:
        return _from_run_lengths(segmentation, hw)
    raise InputError(
        "segmentation is missing or empty" if not segmentation else "segmentation is no polygons and no RLE"
    )


def _from_polygons(polygons: list[Any], hw: tuple[int, int]) -> BoolMask:
    for polygon in polygons:
        # Checked here because pycocotools takes a list of four numbers for a box and others on trust.
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise InputError("a polygon must be a list of at least three x y pairs")
        if not all(isinstance(value, int | float) for value in polygon) or not np.isfinite(polygon).all():
            raise InputError("a polygon must hold finite numbers only")
    union = coco_mask.merge(coco_mask.frPyObjects(polygons, *hw))
    return _from_run_lengths({"size": union["size"], "counts": union["counts"].decode("ascii")}, hw)


def _from_run_lengths(rle: dict[str, Any], hw: tuple[int, int]) -> BoolMask:
    if list(rle.get("size", [])) != list(hw):
        raise InputError(f"the RLE is for height and width {rle.get('size')}, the picture has {list(hw)}")
    counts = _expand(rle["counts"]) if isinstance(rle["counts"], str) else rle["counts"]
    # pycocotools returns uninitialised memory for runs that do not fill the frame, so the sum is checked first.
    valid = isinstance(counts, list) and all(isinstance(run, int) and run >= 0 for run in counts)
    if not valid or sum(counts) != hw[0] * hw[1]:
        raise InputError("the RLE counts do not fill the frame")
    return rle_to_mask({"size": hw, "counts": counts})


def _expand(text: str) -> list[int]:
    """Return the run lengths of COCO's compressed string: 5 bits a character, deltas to the run before the last."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    return counts
