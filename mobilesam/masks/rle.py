"""Run-length encodings of masks.

Inside this package a mask is represented by its *boundaries*: (2R,) integers, the start and stop positions of its R
runs of foreground, in COCO's column-major order. They increase strictly, so that two runs never touch. Results have
SAM's uncompressed RLE or COCO's compressed RLE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from pycocotools import mask as coco_mask

from mobilesam.arrays import AnyIntArray, BoolArray

Box = tuple[int, int, int, int]

_BLOCK = 2**20  # pixels decoded at a time


def boundaries_of(mask: BoolArray) -> AnyIntArray:
    """Return the boundaries of a mask, (H, W) bool."""
    return boundaries_of_columns(mask.T, (0, 0), mask.shape[0])


def boundaries_of_columns(columns: BoolArray, origin_xy: tuple[int, int], height: int) -> AnyIntArray:
    """Return the boundaries of a mask that is empty outside a window.

    Args:
        columns: (n, m) bool, the n columns of the window, each of m pixels.
        origin_xy: of the window in the image.
        height: of the image.
    """
    x, y = origin_xy
    count, length = columns.shape
    padded = np.zeros((count, length + 2), np.bool_)
    padded[:, 1:-1] = columns
    column, row = np.divmod(np.flatnonzero(padded[:, 1:] != padded[:, :-1]), length + 1)
    return joined((column + x) * height + row + y)


def joined(boundaries: AnyIntArray) -> AnyIntArray:
    """Join runs that touch, as one at the bottom of a column and one at the top of the next."""
    touching = np.flatnonzero(boundaries[2::2] == boundaries[1:-1:2])
    return np.delete(boundaries, np.concatenate([2 * touching + 1, 2 * touching + 2]))


def area(boundaries: AnyIntArray) -> int:
    """Return the number of pixels."""
    return int((boundaries[1::2] - boundaries[::2]).sum())


def box(boundaries: AnyIntArray, height: int) -> Box:
    """Return x1 y1 x2 y2 of the outermost pixels, all inclusive; zeros for an empty mask."""
    if not len(boundaries):
        return 0, 0, 0, 0
    first_x, first_y = np.divmod(boundaries[::2], height)
    last_x, last_y = np.divmod(boundaries[1::2] - 1, height)
    if (first_x != last_x).any():  # a run over the bottom of a column and the top of the next
        return int(first_x[0]), 0, int(last_x[-1]), height - 1
    return int(first_x[0]), int(first_y.min()), int(last_x[-1]), int(last_y.max())


def mask_of(boundaries: AnyIntArray, hw: tuple[int, int]) -> BoolArray:
    """Return the mask, (H, W) bool."""
    height, width = hw
    mask = np.empty(hw, np.bool_)
    step = max(1, _BLOCK // height) if height else width
    for x in range(0, width, step):
        mask[:, x : x + step] = _columns(boundaries, height, x, min(x + step, width)).T
    return mask


def columns_of(boundaries: AnyIntArray, height: int, x1: int, x2: int) -> BoolArray:
    """Return columns x1 to x2 (exclusive) of the mask, (H, x2 - x1) bool."""
    return np.ascontiguousarray(_columns(boundaries, height, x1, x2).T)


def _columns(boundaries: AnyIntArray, height: int, x1: int, x2: int) -> BoolArray:
    """Return columns x1 to x2 (exclusive) of the mask, (x2 - x1, H) bool."""
    inside = np.clip(boundaries, x1 * height, x2 * height)
    counts = np.diff(inside, prepend=x1 * height, append=x2 * height)
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(x2 - x1, height)


def rectangle(x1: int, y1: int, x2: int, y2: int, height: int) -> AnyIntArray:
    """Return the boundaries of a filled rectangle, x2 and y2 exclusive, in an image of this height."""
    columns = np.arange(x1, x2, dtype=np.int64)[:, None] * height
    return joined((columns + np.array([y1, y2])).ravel())


def union(masks: Sequence[AnyIntArray]) -> AnyIntArray:
    """Return the boundaries of the union of masks."""
    return _covered(masks, 1)


def intersection(masks: Sequence[AnyIntArray]) -> AnyIntArray:
    """Return the boundaries of the intersection of masks."""
    return _covered(masks, len(masks))


def iou(first: AnyIntArray, second: AnyIntArray) -> float:
    """Return the intersection of two masks over their union; 0 if both are empty."""
    shared = area(intersection([first, second]))
    together = area(first) + area(second) - shared
    return shared / together if together else 0.0


def _covered(masks: Sequence[AnyIntArray], times: int) -> AnyIntArray:
    """Return the boundaries of the pixels that are in at least ``times`` of the masks."""
    positions = np.concatenate(masks)
    steps = np.concatenate([np.resize([1, -1], len(mask)) for mask in masks])
    places, which = np.unique(positions, return_inverse=True)
    depth = np.cumsum(np.bincount(which, steps, len(places)))
    inside = np.rint(depth) >= times
    boundaries: AnyIntArray = places[inside != np.concatenate([[False], inside[:-1]])]
    return boundaries


def to_uncompressed(boundaries: AnyIntArray, hw: tuple[int, int]) -> dict[str, Any]:
    """Return SAM's uncompressed RLE: ``size`` [H, W] and ``counts``, run lengths beginning with background."""
    counts = np.diff(boundaries, prepend=0, append=hw[0] * hw[1])
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    return {"size": list(hw), "counts": counts.tolist()}


def to_coco(boundaries: AnyIntArray, hw: tuple[int, int]) -> dict[str, Any]:
    """Return COCO's compressed RLE: ``size`` [H, W] and ``counts``, a string."""
    return coco_encode_rle(to_uncompressed(boundaries, hw))


def coco_encode_rle(uncompressed_rle: dict[str, Any]) -> dict[str, Any]:
    """Return COCO's compressed RLE of an uncompressed RLE; ``counts`` is a str, for JSON."""
    height, width = uncompressed_rle["size"]
    compressed: dict[str, Any] = coco_mask.frPyObjects(uncompressed_rle, height, width)
    return {"size": [height, width], "counts": compressed["counts"].decode("ascii")}


def area_from_rle(rle: dict[str, Any]) -> int:
    """Return the number of pixels of an uncompressed RLE."""
    return sum(rle["counts"][1::2])


def boundaries_of_rle(rle: dict[str, Any]) -> AnyIntArray:
    """Return the boundaries of an uncompressed RLE."""
    boundaries = np.cumsum(np.asarray(rle["counts"], np.int64))
    return boundaries[: len(boundaries) // 2 * 2]


def rle_to_mask(rle: dict[str, Any]) -> BoolArray:
    """Return the mask, (H, W) bool, of an uncompressed RLE."""
    height, width = rle["size"]
    return mask_of(boundaries_of_rle(rle), (height, width))


class DecodedMasks(Sequence[BoolArray]):
    """The masks, (H, W) bool, of uncompressed RLEs, decoded one by one on access to save memory."""

    def __init__(self, rles: Sequence[dict[str, Any]]) -> None:
        self._rles = rles

    def __len__(self) -> int:
        return len(self._rles)

    @overload
    def __getitem__(self, index: int) -> BoolArray: ...
    @overload
    def __getitem__(self, index: slice) -> DecodedMasks: ...
    def __getitem__(self, index: int | slice) -> BoolArray | DecodedMasks:
        if isinstance(index, slice):
            return DecodedMasks(self._rles[index])
        return rle_to_mask(self._rles[index])
