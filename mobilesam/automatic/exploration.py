"""The order in which everything mode decodes points, and which points the modes "balanced" and "fast" leave out.

Most points of a grid give the same masks as their neighbors. These two modes always decode the point next of which most
new masks are expected. The expectation falls where a point becomes known: when it lies inside the finest mask of a
decoded point, the smallest stable mask that contains that point. It becomes better known the more alike the image
embedding is at both points. The finest mask excludes small objects that lie on a large one, and small objects look
different. Masks that fail the filters count too: where the model is uncertain, neighboring points give no better masks.

At first the expectation is the one that :mod:`mobilesam.automatic.expected_masks` learned, and a run ends when it has
fallen low everywhere. Without it the points are equal at first, and a run ends after a share of them.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple

import numpy as np

from mobilesam.arrays import BoolArray, FloatArray, FloatArray64, IntArray

# Share of the points that each mode decodes. These and the constants below were chosen on photos of the public
# evaluation set that the published recall is not measured on.
SHARE = {"exact": 1.0, "balanced": 0.375, "fast": 0.171875}
# The most that it decodes of an image with many masks where the end depends on the expectation.
MOST_SHARE = {"exact": 1.0, "balanced": 0.625, "fast": 0.375}

# A mask counts from this predicted IoU and this stability on.
MIN_PREDICTED_IOU = 0.6
MIN_STABILITY = 0.6

_DISTANCE = 0.4  # cosine distance between two points at which one makes the other known by 1 / e only
_SPREAD = 0.3  # weight of the initial order among points that are equally known
_BLOCK = 256  # distances with a common upper bound, so that finding the farthest point does not scan all of them


class Expectation(NamedTuple):
    """The new masks to expect of points before any is decoded, and how they become fewer.

    log_rates: (K, N), logarithms of the expected masks of each of K kinds.
    decays: (K,), how fast each kind becomes fewer at a point that becomes known.
    log_least: the points of which fewer new masks are expected are not decoded.
    """

    log_rates: FloatArray
    decays: FloatArray
    log_least: float


class Exploration:
    """Chooses the points to decode, those of which most new masks are expected first.

    Args:
        points: (N, 2) x y in pixels.
        appearance: (N, E) unit vectors of the image embedding at the points, for :meth:`learn`; None for a random
            order, in which a run that is cut short has covered the whole image.
        limit: the most points to decode.
        expectation: the new masks to expect; by default nearly as many of each point, in the order of
            :func:`farthest_first`.
    """

    def __init__(
        self, points: FloatArray64, appearance: FloatArray | None, limit: int, expectation: Expectation | None = None
    ) -> None:
        self._appearance = appearance
        self.left = limit
        if expectation is None:
            order = np.random.default_rng(0).permutation(len(points)) if appearance is None else farthest_first(points)
            spread = np.empty((1, len(points)), np.float32)
            spread[0, order] = np.linspace(0, _SPREAD, len(points), endpoint=False)
            expectation = Expectation(-spread, np.ones(1, np.float32), -np.inf)
        self._log_expected, self._decays, self._log_least = expectation
        self._taken = np.zeros(len(points), np.bool_)

    def log_expected(self) -> FloatArray:
        """Return the logarithm of the new masks to expect of each point, (N,); minus infinity for those taken."""
        values: FloatArray = np.logaddexp.reduce(self._log_expected, axis=0)
        values[self._taken] = -np.inf
        return values

    def take(self, size: int) -> IntArray:
        """Return the indices of at most ``size`` points to decode next; none at the end."""
        size = min(size, self.left)
        if not size:
            return np.zeros(0, np.int64)
        unexpected = -self.log_expected()
        # The same as the first of a stable argsort, without sorting all of them.
        last = np.partition(unexpected, size - 1)[size - 1]
        least = np.flatnonzero(unexpected <= min(last, -self._log_least))
        taken = least[np.argsort(unexpected[least], kind="stable")[:size]]
        self.left -= len(taken)
        self._taken[taken] = True
        return taken

    def learn(self, index: int, inside: BoolArray) -> None:
        """Record which points lie inside the finest mask of a decoded point, (N,) bool."""
        assert self._appearance is not None
        likeness = self._appearance @ self._appearance[index]
        self._log_expected = self._log_expected - self._decays[:, None] * (np.exp((likeness - 1) / _DISTANCE) * inside)


def farthest_first(points: FloatArray64) -> IntArray:
    """Return the order in which each point is the farthest from all before it, beginning near the middle.

    Among points equally far, the lowest index comes first. A new point changes only the distances of points that are
    nearer to it than it was to the points before, so only the cells around it are updated.
    """
    cells = _Cells(points)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    index = int(((points - middle) ** 2).sum(axis=1).argmin())
    distance = ((points - points[index]) ** 2).sum(axis=1)
    highest = np.full(-(-len(points) // _BLOCK), np.inf)  # upper bound of each block of distances
    order = np.empty(len(points), np.int64)
    for place in range(len(points)):
        order[place] = index
        near = cells.around(index, float(distance[index]) ** 0.5)
        steps = points[near] - points[index]
        steps *= steps
        distance[near] = np.minimum(distance[near], steps[:, 0] + steps[:, 1])
        distance[index] = -1
        while True:
            block = int(highest.argmax())
            part = distance[block * _BLOCK : (block + 1) * _BLOCK]
            within = int(part.argmax())
            if part[within] == highest[block]:
                break
            highest[block] = part[within]
        index = block * _BLOCK + within
    return order


class _Cells:
    """Points, (N, 2), sorted into cells whose rows and columns hold about equally many points."""

    def __init__(self, points: FloatArray64) -> None:
        count = max(1, int((len(points) / 4) ** 0.5))
        self._points = points.tolist()
        edges = np.sort(points, axis=0)[:: -(-len(points) // count)]
        self._column_edges, self._row_edges = (np.unique(edges[:, axis]).tolist() for axis in (0, 1))
        self._columns = len(self._column_edges) + 1
        column, row = (
            np.searchsorted(side, points[:, axis], side="right")
            for axis, side in enumerate((self._column_edges, self._row_edges))
        )
        cell = row * self._columns + column
        self._by_cell = np.argsort(cell, kind="stable")
        cells = np.arange(self._columns * (len(self._row_edges) + 1) + 1)
        self._starts = np.searchsorted(cell[self._by_cell], cells).tolist()

    def around(self, index: int, radius: float) -> IntArray:
        """Return the indices of all points within a radius of a point, and of some beyond it."""
        x, y = self._points[index]
        radius *= 1 + 1e-9  # allows for rounding errors
        left, right = (bisect.bisect_right(self._column_edges, place) for place in (x - radius, x + radius))
        top, bottom = (bisect.bisect_right(self._row_edges, place) for place in (y - radius, y + radius))
        starts = range(top * self._columns, (bottom + 1) * self._columns, self._columns)
        return np.concatenate(
            [self._by_cell[self._starts[row + left] : self._starts[row + right + 1]] for row in starts]
        )


def vectors_at(features: FloatArray, cells_xy: IntArray) -> FloatArray:
    """Return the features at cells of an embedding, (N, E).

    Args:
        features: (1, E, h, w) float32, the image embedding.
        cells_xy: (N, 2), column and row of the embedding.
    """
    vectors: FloatArray = features[0][:, cells_xy[:, 1], cells_xy[:, 0]].T
    return vectors


def appearance_of(vectors: FloatArray) -> FloatArray:
    """Return vectors of an embedding, (N, E), less their mean, as unit vectors."""
    vectors = vectors - vectors.mean(axis=0)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: FloatArray = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return units


def inside_finest(
    logits: FloatArray, prompt_xy: IntArray, points_xy: IntArray, threshold: float, offset: float
) -> BoolArray:
    """Return which points lie inside the smallest stable mask of a prompt that contains the prompt, (N,) bool.

    Args:
        logits: (C, 256, 256) float32, the masks of the prompt.
        prompt_xy: (2,), points_xy: (N, 2): column and row of the logits.
        threshold, offset: as of the stability score.
    """
    inside = np.zeros(len(points_xy), np.bool_)
    smallest = np.inf
    for mask_logits in logits:
        mask = mask_logits > threshold
        area = int(np.count_nonzero(mask))
        if not mask[prompt_xy[1], prompt_xy[0]] or area >= smallest:
            continue
        possible = np.count_nonzero(mask_logits > threshold - offset)
        if np.count_nonzero(mask_logits > threshold + offset) >= MIN_STABILITY * possible:
            inside, smallest = mask[points_xy[:, 1], points_xy[:, 0]], area
    return inside
