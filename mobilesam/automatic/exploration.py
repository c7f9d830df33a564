"""Which points to ask when not all are asked.

Most points of a grid repeat what their neighbours said. The next point asked is always the least known one: a point is
known from the answers to earlier points in whose finest mask it lies, the more so the more its place in the picture
looks like theirs to the image encoder. The finest answer, the smallest mask that holds the point it was asked for,
leaves out small things that lie on a large one; and small things look different. Answers that fail the filters count
too: where the model is not sure, it will not be surer one point further.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
PointArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

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


class Exploration:
    """Hands out points, the least known first.

    Args:
        points: (N, 2) x y in pixels.
        looks: (N, E) unit vectors, how the picture looks at the points.
        limit: how many points to ask.
    """

    def __init__(self, points: PointArray, looks: FloatArray, limit: int) -> None:
        self._looks = looks
        self._known = np.empty(len(points), np.float32)
        self._known[farthest_first(points)] = np.linspace(0, _SPREAD, len(points), endpoint=False)
        self._left = limit

    def take(self, size: int) -> IntArray:
        """Return the indices of at most ``size`` points to ask next; none once enough have been asked."""
        taken = np.argsort(self._known, kind="stable")[: min(size, self._left)]
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


def farthest_first(points: PointArray) -> IntArray:
    """Return the order in which each point is the farthest from all before it, beginning near the middle."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    distance = np.full(len(points), np.inf)
    order = np.empty(len(points), np.int64)
    index = int(((points - middle) ** 2).sum(axis=1).argmin())
    for place in range(len(points)):
        order[place] = index
        np.minimum(distance, ((points - points[index]) ** 2).sum(axis=1), out=distance)
        distance[index] = -1
        index = int(distance.argmax())
    return order


def looks_at(features: FloatArray, cells_xy: IntArray) -> FloatArray:
    """Return how a picture looks at places, (N, E) unit vectors relative to the mean of all places.

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
