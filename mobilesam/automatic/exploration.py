"""Which points to ask when not all are asked.

Most points of a grid repeat what their neighbors said. The next point asked is always the least known one: a point is
known from the answers to earlier points in whose finest mask it lies, the more so the more its place in the image
looks like theirs to the image encoder. The finest answer, the smallest mask that holds the point it was asked for,
leaves out small things that lie on a large one; and small things look different. Answers that fail the filters count
too: where the model is not sure, it will not be surer one point further.
"""

from __future__ import annotations

import bisect

import numpy as np

from mobilesam.arrays import BoolArray, FloatArray, FloatArray64, IntArray

# Share of the points that a mode asks. These and the constants below were chosen on photos of the public evaluation set
# that the published recall is not measured on.
SHARE = {"exact": 1.0, "balanced": 0.375, "fast": 0.171875}

# An answer counts from this predicted IoU and this stability on.
MIN_PREDICTED_IOU = 0.6
MIN_STABILITY = 0.6

# How fast an answer tells less about places that look different: 1 / e at this distance, one minus the cosine.
_DISTANCE = 0.4

# Between points equally known the one farthest from those before it comes first, which counts up to this much.
_SPREAD = 0.3

_BLOCK = 256  # distances whose highest is kept, so that the farthest point is found without looking at all of them


class Exploration:
    """Hands out points, the least known first.

    Args:
        points: (N, 2) x y in pixels.
        looks: (N, E) unit vectors, how the image looks at the points.
        limit: how many points to ask.
    """

    def __init__(self, points: FloatArray64, looks: FloatArray, limit: int) -> None:
        self._looks = looks
        self._known = np.empty(len(points), np.float32)
        self._known[farthest_first(points)] = np.linspace(0, _SPREAD, len(points), endpoint=False)
        self._left = limit

    def take(self, size: int) -> IntArray:
        """Return the indices of at most ``size`` points to ask next; none once enough have been asked."""
        size = min(size, self._left)
        if not size:
            return np.zeros(0, np.int64)
        # The same as the first of a stable argsort, without sorting all of them.
        last = np.partition(self._known, size - 1)[size - 1]
        least = np.flatnonzero(self._known <= last)
        taken = least[np.argsort(self._known[least], kind="stable")[:size]]
        self._left -= len(taken)
        self._known[taken] = np.inf
        return taken

    def learn(self, index: int, inside: BoolArray) -> None:
        """Note which points lie inside the finest answer to a point, (N,) bool."""
        likeness = self._looks @ self._looks[index]
        self._known += np.exp((likeness - 1) / _DISTANCE) * inside


class Everywhere:
    """Hands out every point, in an order that has looked everywhere a little if the run is cut short."""

    def __init__(self, count: int) -> None:
        self._order = np.random.default_rng(0).permutation(count)

    def take(self, size: int) -> IntArray:
        """Return the indices of at most ``size`` points to ask next; none at the end."""
        taken, self._order = self._order[:size], self._order[size:]
        return taken


def farthest_first(points: FloatArray64) -> IntArray:
    """Return the order in which each point is the farthest from all before it, beginning near the middle.

    Between points equally far the one of the lowest index comes first. A point that is taken changes the distance of
    those nearer to it than it was to the points before, so only the cells around it are looked at.
    """
    cells = _Cells(points)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    index = int(((points - middle) ** 2).sum(axis=1).argmin())
    distance = ((points - points[index]) ** 2).sum(axis=1)
    highest = np.full(-(-len(points) // _BLOCK), np.inf)  # of each block of distances, or more than that
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
    """Points, (N, 2), in cells of rows and columns that each have about as many points."""

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
        """Return the indices of at least all points so near to one of them."""
        x, y = self._points[index]
        radius *= 1 + 1e-9  # a rounding error more
        left, right = (bisect.bisect_right(self._column_edges, place) for place in (x - radius, x + radius))
        top, bottom = (bisect.bisect_right(self._row_edges, place) for place in (y - radius, y + radius))
        starts = range(top * self._columns, (bottom + 1) * self._columns, self._columns)
        return np.concatenate(
            [self._by_cell[self._starts[row + left] : self._starts[row + right + 1]] for row in starts]
        )


def looks_at(features: FloatArray, cells_xy: IntArray) -> FloatArray:
    """Return how an image looks at places, (N, E) unit vectors relative to the mean of all places.

    Args:
        features: (1, E, h, w) float32, the image embedding.
        cells_xy: (N, 2), column and row of the embedding.
    """
    looks = features[0][:, cells_xy[:, 1], cells_xy[:, 0]].T
    looks = looks - looks.mean(axis=0)
    length = np.linalg.norm(looks, axis=1, keepdims=True)
    units: FloatArray = np.divide(looks, length, out=np.zeros_like(looks), where=length > 0)
    return units


def inside_finest(
    logits: FloatArray, asked_xy: IntArray, points_xy: IntArray, threshold: float, offset: float
) -> BoolArray:
    """Return which points lie inside the smallest of a prompt's answers that holds the point asked, (N,) bool.

    Args:
        logits: (C, 256, 256) float32, the answers.
        asked_xy: (2,), points_xy: (N, 2): column and row of the logits.
        threshold, offset: as of the stability score; answers of little stability are not counted.
    """
    inside = np.zeros(len(points_xy), np.bool_)
    smallest = np.inf
    for answer in logits:
        mask = answer > threshold
        area = int(np.count_nonzero(mask))
        if not mask[asked_xy[1], asked_xy[0]] or area >= smallest:
            continue
        possible = np.count_nonzero(answer > threshold - offset)
        if np.count_nonzero(answer > threshold + offset) >= MIN_STABILITY * possible:
            inside, smallest = mask[points_xy[:, 1], points_xy[:, 0]], area
    return inside
