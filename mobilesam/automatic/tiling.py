"""Large images in overlapping tiles: where the tiles lie, and how masks that a border cut are put together again.

An object smaller than the overlap lies whole in some tile. A larger one is cut by the borders of all its tiles; its
parts agree where their tiles overlap, and are joined. A cut mask that no neighbor confirms is dropped: its straight
edge is the tile's, not the object's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from mobilesam.errors import InputError, sentence
from mobilesam.masks import rle
from mobilesam.masks.boxes import box_iou, near_crop_edge
from mobilesam.masks.candidate import Box, Candidate

# Two masks are the same object if they agree to this IoU in the overlap of their tiles.
_SAME = 0.6

MAX_TILES = 100_000  # at half a second each, half a day


def tile_boxes(hw: tuple[int, int], tile_size: int, overlap: float) -> list[Box]:
    """Return tiles x1 y1 x2 y2 that cover an image of (height, width) evenly; one if it is no larger than a tile.

    Args:
        tile_size: side in pixels.
        overlap: of neighbors, at least this share of the side.

    Raises:
        InputError: there are more than :data:`MAX_TILES` of them.
    """
    starts = []
    for side in hw:
        span = max(0, side - tile_size)
        count = math.ceil(span / max(1, round(tile_size * (1 - overlap)))) + 1
        starts.append([round(span * index / max(1, count - 1)) for index in range(count)])
    count = len(starts[0]) * len(starts[1])
    if count > MAX_TILES:
        actual = f"{count:,} of {tile_size} pixels for an image of {hw[1]} x {hw[0]}"
        raise InputError(sentence("tiles", f"be at most {MAX_TILES:,}", actual, "use larger tiles or less overlap"))
    return [
        (x, y, min(x + tile_size, hw[1]), min(y + tile_size, hw[0])) for y, x in itertools.product(starts[0], starts[1])
    ]


def stitch(candidates: Sequence[Candidate], hw: tuple[int, int], iou_threshold: float) -> list[Candidate]:
    """Join what borders cut, and remove duplicates between tiles.

    Args:
        candidates: of all tiles and of the whole image; ``crop_box`` tells which.
        iou_threshold: of two masks whose own IoU is above this, the one from the smaller tile is kept, then the one of
            the better predicted IoU.
    """
    cut = [bool(near_crop_edge(np.array([item.box]), item.crop_box, hw)[0]) for item in candidates]
    whole = [item for item, is_cut in zip(candidates, cut, strict=True) if not is_cut]
    parts = [item for item, is_cut in zip(candidates, cut, strict=True) if is_cut]
    parts = [part for part in parts if not any(_same(part, other, hw) for other in _touching(part, whole))]
    whole += [_join(group, hw) for group in _groups(parts, hw) if len(group) > 1]
    whole.sort(key=lambda item: (_area(item.crop_box), -item.predicted_iou))
    kept: list[Candidate] = []
    for item in whole:
        if not any(rle.iou(item.boundaries, other.boundaries) > iou_threshold for other in _touching(item, kept)):
            kept.append(item)
    return kept


def _groups(parts: Sequence[Candidate], hw: tuple[int, int]) -> list[list[Candidate]]:
    """Return the parts, those of one object together."""
    groups: list[list[Candidate]] = []
    for part in parts:
        linked = [group for group in groups if any(_same(part, other, hw) for other in _touching(part, group))]
        groups = [group for group in groups if not any(group is other for other in linked)]
        groups.append([part, *itertools.chain.from_iterable(linked)])
    return groups


def _touching(item: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
    """Return those whose box overlaps the item's."""
    if not others:
        return []
    boxes = np.array([other.box for other in others], np.float32) + np.array([0, 0, 1, 1], np.float32)
    own = np.array(item.box, np.float32) + np.array([0, 0, 1, 1], np.float32)
    return [others[index] for index in np.flatnonzero(box_iou(own, boxes) > 0).tolist()]


def _same(first: Candidate, second: Candidate, hw: tuple[int, int]) -> bool:
    """Tell whether two masks of different tiles agree where the tiles overlap."""
    x1, y1 = (max(first.crop_box[axis], second.crop_box[axis]) for axis in (0, 1))
    x2, y2 = (min(first.crop_box[axis], second.crop_box[axis]) for axis in (2, 3))
    if first.crop_box == second.crop_box or x1 >= x2 or y1 >= y2:
        return False
    overlap = rle.rectangle(x1, y1, x2, y2, hw[0])
    seen = [rle.intersection([item.boundaries, overlap]) for item in (first, second)]
    return rle.iou(*seen) >= _SAME


def _join(group: Sequence[Candidate], hw: tuple[int, int]) -> Candidate:
    """Return the union of parts, as good as the worst of them."""
    largest = max(group, key=lambda item: rle.area(item.boundaries))
    boundaries = rle.union([item.boundaries for item in group])
    tiles = np.array([item.crop_box for item in group])
    hull = (*tiles[:, :2].min(axis=0).tolist(), *tiles[:, 2:].max(axis=0).tolist())
    return Candidate(
        boundaries,
        rle.box(boundaries, hw[0]),
        min(item.predicted_iou for item in group),
        min(item.stability for item in group),
        largest.point,
        hull,
    )


def _area(box: Box) -> int:
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)
