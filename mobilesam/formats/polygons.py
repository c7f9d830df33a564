"""Masks as polygons, for formats that know nothing else.

Corners are the centers of the mask's outermost pixels, as OpenCV finds them: filled together with its line, a polygon
covers exactly the mask. A hole is joined to the outline around it by a bridge of no width, there and back. That is said
once, since a reader that draws lines fills the bridge.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import reduce

import cv2
import numpy as np
import numpy.typing as npt

from mobilesam.arrays import AnyIntArray, BoolArray, IntArray
from mobilesam.errors import FormatLossWarning
from mobilesam.masks import rle

_NEAR_STEPS = 4  # of walking to and fro between two outlines; a short bridge is wanted, not the shortest


def rings_of(mask: BoolArray, simplification: float = 0.0) -> list[IntArray]:
    """Return one closed ring for each part of a mask, (H, W) bool, the largest first.

    A ring is (N, 2) int64 with x and y of pixels, at least three corners: those of a lone pixel are all the same.

    Args:
        simplification: corners are left out where the outline moves by at most this share of its length.
    """
    contours, tree = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return []
    if simplification:
        contours = [cv2.approxPolyDP(each, simplification * cv2.arcLength(each, True), True) for each in contours]
    corners = [np.asarray(contour, np.int64).reshape(-1, 2) for contour in contours]
    parents = np.asarray(tree)[0, :, 3].tolist()
    outer = [index for index, parent in enumerate(parents) if parent < 0]
    outer.sort(key=lambda index: -cv2.contourArea(contours[index]))
    return [
        _at_least_three(reduce(joined, [corners[hole] for hole, up in enumerate(parents) if up == part], corners[part]))
        for part in outer
    ]


def one_ring_of(mask: BoolArray) -> IntArray:
    """Return a single ring for a mask, (H, W) bool, its parts joined by bridges; (0, 2) for an empty one."""
    rings = rings_of(mask)
    return reduce(joined, rings) if rings else np.zeros((0, 2), np.int64)


def filled(rings: Iterable[npt.ArrayLike], hw: tuple[int, int]) -> BoolArray:
    """Return the mask, (H, W) bool, that rings of whole pixels cover together with their lines."""
    canvas = np.zeros(hw, np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [np.asarray(ring, np.int32).reshape(-1, 2)], 1)
    return canvas.astype(np.bool_)


def filled_boundaries(ring: IntArray, hw: tuple[int, int]) -> AnyIntArray:
    """Return the boundaries of what a ring inside the image covers as in :func:`filled`, by its box alone."""
    origin = ring.min(axis=0)
    width, height = (ring.max(axis=0) - origin + 1).tolist()
    window = filled([ring - origin], (height, width))
    return rle.boundaries_of_columns(window.T, (int(origin[0]), int(origin[1])), hw[0])


def joined(ring: IntArray, other: IntArray) -> IntArray:
    """Return a ring that goes round one, over a bridge, round the other, and back."""
    warnings.warn(
        "this format's polygons have neither holes nor parts: they are joined to the outline by a line of no width",
        FormatLossWarning,
        stacklevel=1,  # one place, so that it is said once
    )
    start = 0
    end = 0
    for _ in range(_NEAR_STEPS):
        start = _nearest(ring, other[end])
        end = _nearest(other, ring[start])
    turned: Sequence[IntArray] = (ring[: start + 1], other[end:], other[: end + 1], ring[start:])
    return np.concatenate(turned)


def _nearest(ring: IntArray, point: IntArray) -> int:
    return int(((ring - point) ** 2).sum(axis=1).argmin())


def _at_least_three(ring: IntArray) -> IntArray:
    return ring if len(ring) >= 3 else np.concatenate([ring, np.repeat(ring[:1], 3 - len(ring), axis=0)])
