"""Masks as exact outlines: polygons along the edges of pixels, with holes.

Pixel (x, y) is the square from (x, y) to (x + 1, y + 1), so the area of the polygons is the number of pixels, and
:func:`fill` gives the mask back. Parts that meet only at a corner are polygons of their own; no ring touches itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mobilesam.arrays import AnyIntArray, BoolArray, FloatArray64

Place = tuple[int, int]


class Polygon(NamedTuple):
    """One part of a mask: closed rings of corners, (N, 2) x y, the last one equal to the first."""

    exterior: FloatArray64
    holes: list[FloatArray64]


def outlines(mask: BoolArray) -> list[Polygon]:
    """Return the parts of a mask, (H, W) bool, the uppermost first.

    With y downwards exteriors run clockwise and holes counter-clockwise as seen, that is, the other way about where y
    goes up.
    """
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    exteriors: dict[int, FloatArray64] = {}
    holes: dict[int, list[FloatArray64]] = {}
    for ring in _rings(mask):
        corners = np.array(ring, np.float64)
        part = int(parts[_pixel_right_of(*ring[:2])])
        (x, y), (next_x, next_y) = corners[:-1].T, corners[1:].T
        if (x * next_y - next_x * y).sum() > 0:
            exteriors[part] = corners
        else:
            holes.setdefault(part, []).append(corners)
    return [Polygon(exteriors[part], holes.get(part, [])) for part in sorted(exteriors)]


def fill(rings: Iterable[npt.ArrayLike], hw: tuple[int, int]) -> AnyIntArray:
    """Return the boundaries of the pixels whose middle lies inside an odd number of rings, (N, 2) x y each."""
    height, width = hw
    crossings = [np.zeros(0, np.int64)]
    for ring in rings:
        corners = np.asarray(ring, np.float64).reshape(-1, 2)
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            first, last = np.clip(np.ceil(np.array([min(x1, x2), max(x1, x2)]) - 0.5), 0, width).astype(np.int64)
            columns = np.arange(first, last)
            if len(columns):
                rows = np.ceil(y1 + (columns + 0.5 - x1) * ((y2 - y1) / (x2 - x1)) - 0.5)
                crossings.append(columns * height + np.clip(rows, 0, height).astype(np.int64))
    # Columns follow one another without a gap, so what enters and leaves at one place cancels out.
    places, times = np.unique(np.concatenate(crossings), return_counts=True)
    boundaries: AnyIntArray = places[times % 2 == 1]
    return boundaries


def _pixel_right_of(begin: Place, end: Place) -> Place:
    """Return row and column of the pixel to the right of an edge's beginning."""
    (x, y), (dx, dy) = begin, _sign(end[0] - begin[0], end[1] - begin[1])
    return (y if dx > 0 or dy > 0 else y - 1), (x if dx > 0 or dy < 0 else x - 1)


def _rings(mask: BoolArray) -> Iterator[list[Place]]:
    """Yield closed rings with the mask to their right, none of which comes to a corner twice."""
    following = _edges(mask)
    for start in list(following):
        while following[start]:
            path, places, heading = [start], {start: 0}, (0, 0)
            while path:
                here, choices = path[-1], following[path[-1]]
                # Where two pixels meet at a corner only, the way goes round the one it came along.
                right = [at for at, (x, y) in enumerate(choices) if _sign(x - here[0], y - here[1]) == heading]
                there = choices.pop(right[0] if right else 0)
                dx, dy = _sign(there[0] - here[0], there[1] - here[1])
                heading = (-dy, dx)
                if there not in places:
                    places[there] = len(path)
                    path.append(there)
                    continue
                since = places[there]
                yield [*path[since:], there]
                for corner in path[since + 1 :]:
                    del places[corner]
                del path[since + 1 if since else 0 :]


def _edges(mask: BoolArray) -> dict[Place, list[Place]]:
    """Return the straight edges of the mask, by the corner where they begin, with the mask to their right."""
    following: dict[Place, list[Place]] = {}
    padded = np.pad(mask.astype(np.int8), 1)
    across, down = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1].T
    for steps, kind, upright, forwards in (
        (across, 1, False, True),
        (across, -1, False, False),
        (down, 1, True, False),
        (down, -1, True, True),
    ):
        lines = np.pad(steps == kind, ((0, 0), (1, 1)))
        line, position = np.nonzero(lines[:, 1:] != lines[:, :-1])
        for at, first, last in zip(line[::2].tolist(), position[::2].tolist(), position[1::2].tolist(), strict=True):
            begin, end = (first, last) if forwards else (last, first)
            one, other = ((at, begin), (at, end)) if upright else ((begin, at), (end, at))
            following.setdefault(one, []).append(other)
    return following


def _sign(dx: int, dy: int) -> Place:
    return (dx > 0) - (dx < 0), (dy > 0) - (dy < 0)
