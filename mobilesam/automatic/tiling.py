"""Overlapping tiles of large images, and joining of the masks that tile borders cut.

An object smaller than the overlap lies entirely in some tile. A larger one is cut by the borders of its tiles; its
parts agree where the tiles overlap, and are joined. A cut mask without such a counterpart is dropped, because its
straight edge belongs to the tile and not to the object.
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

_SAME = 0.6  # two masks belong to one object from this IoU on, in the overlap of their tiles

MAX_TILES = 100_000  # half a day at half a second each


def tile_boxes(hw: tuple[int, int], tile_size: int, overlap: float) -> list[Box]:
    """Return evenly spaced tiles x1 y1 x2 y2 that cover an image of (height, width).

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
    """Join the masks that tile borders cut, and remove duplicates between tiles.

    Args:
        candidates: of all tiles and of the whole image.
        iou_threshold: of two masks with a higher mask IoU, the one from the smaller tile is kept, or else the one of
            higher predicted IoU.
    """
    cut = [bool(near_crop_edge(np.array([item.box]), item.crop_box, (0, 0, hw[1], hw[0]))[0]) for item in candidates]
    whole = [item for item, is_cut in zip(candidates, cut, strict=True) if not is_cut]
    parts = [item for item, is_cut in zip(candidates, cut, strict=True) if is_cut]
    parts = [part for part in parts if not any(_same(part, other, hw) for other in _touching(part, whole))]
    whole += [_join(group, hw) for group in _groups(parts, hw) if len(group) > 1]
    whole.sort(key=lambda item: (box_area(item.crop_box), -item.predicted_iou))
    kept: list[Candidate] = []
    for item in whole:
        if not any(rle.iou(item.boundaries, other.boundaries) > iou_threshold for other in _touching(item, kept)):
            kept.append(item)
    return kept


def _groups(parts: Sequence[Candidate], hw: tuple[int, int]) -> list[list[Candidate]]:
    """Return the parts grouped by object."""
    groups: list[list[Candidate]] = []
    for part in parts:
        linked = [group for group in groups if any(_same(part, other, hw) for other in _touching(part, group))]
        groups = [group for group in groups if not any(group is other for other in linked)]
        groups.append([part, *itertools.chain.from_iterable(linked)])
    return groups


def _touching(item: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates whose box overlaps the item's."""
    if not others:
        return []
    boxes = np.array([each.box for each in (item, *others)], np.float32) + np.array([0, 0, 1, 1], np.float32)
    return [others[index] for index in np.flatnonzero(box_iou(boxes[0], boxes[1:]) > 0).tolist()]


def _same(first: Candidate, second: Candidate, hw: tuple[int, int]) -> bool:
    """Return whether two masks of different tiles agree where the tiles overlap."""
    x1, y1 = (max(first.crop_box[axis], second.crop_box[axis]) for axis in (0, 1))
    x2, y2 = (min(first.crop_box[axis], second.crop_box[axis]) for axis in (2, 3))
    if first.crop_box == second.crop_box or x1 >= x2 or y1 >= y2:
        return False
    overlap = rle.rectangle(x1, y1, x2, y2, hw[0])
    seen = [rle.intersection([item.boundaries, overlap]) for item in (first, second)]
    return rle.iou(*seen) >= _SAME


def _join(group: Sequence[Candidate], hw: tuple[int, int]) -> Candidate:
    """Return the union of parts, with the lowest of their scores."""
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


def box_area(box: Box) -> int:
    """Return the area of x1 y1 x2 y2, x2 and y2 exclusive."""
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)
