"""What happens to mask logits after the network: upsampling, in NumPy, on any window of the image.

SAM brings 256 × 256 logits to the image in two bilinear steps: to the padded 1024 × 1024 square, whose used part is
cut out, then to the original size. Both steps are linear and separable, so each axis is one matrix with a few entries a
row, and a window of the result needs only that window's rows of it. No full-size intermediate exists.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mobilesam.arrays import BoolArray, FloatArray, IntArray

# A product of more multiplications than this wakes OpenBLAS's threads, which then spin on the cores that the network's
# own threads need: measured on 2 cores, one click took 56 ms instead of 20.
_QUIET_PRODUCT = 64**3

# Logits computed at once, about 1 MB: small enough for the cache, large enough to hide Python.
_BLOCK = 2**18


class Frame(NamedTuple):
    """How low-resolution logits lie on an image.

    input_hw: (height, width) of the image in the model frame.
    original_hw: (height, width) of the original image.
    image_size: side of the padded square, 1024.
    """

    input_hw: tuple[int, int]
    original_hw: tuple[int, int]
    image_size: int


class Window(NamedTuple):
    """A part of the original image, x1 and y1 inclusive, x2 and y2 exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int


def upsample(
    low_res_logits: FloatArray,
    input_hw: tuple[int, int],
    original_hw: tuple[int, int],
    image_size: int,
    *,
    window_xyxy: tuple[int, int, int, int] | None = None,
    threshold: float | None = None,
) -> FloatArray | BoolArray:
    """Bring low-resolution logits to the original image.

    Args:
        low_res_logits: (..., h, w) float32, covering the padded square.
        input_hw: (height, width) of the image in the model frame.
        original_hw: (height, width) of the original image.
        image_size: side of the padded square, 1024.
        window_xyxy: the part of the original image that is wanted; all of it by default.
        threshold: give a bool mask of the logits above it instead of the logits.

    Returns:
        (..., H, W) float32 logits, or bool, where H and W are those of the window.
    """
    window = Window(*(window_xyxy or (0, 0, original_hw[1], original_hw[0])))
    rows, columns = _axes(low_res_logits.shape, Frame(input_hw, original_hw, image_size))
    count, shape = math.prod(low_res_logits.shape[:-2]), (window.y2 - window.y1, window.x2 - window.x1)
    out: npt.NDArray[Any] = np.empty((count, *shape), np.float32 if threshold is None else np.bool_)
    for logits, target in zip(low_res_logits.reshape(count, *low_res_logits.shape[-2:]), out, strict=True):
        for y, block in _blocks(logits.T, columns, rows, (window.x1, window.x2), (window.y1, window.y2)):
            part = target[y - window.y1 : y - window.y1 + len(block)]
            if threshold is None:
                part[...] = block
            else:
                np.greater(block, threshold, out=part)
    return out.reshape(*low_res_logits.shape[:-2], *shape)


def upsampled_columns(low_res_logits: FloatArray, frame: Frame, window: Window) -> Iterator[tuple[int, FloatArray]]:
    """Yield a window's logits some columns at a time, as COCO orders pixels: x of the first, and (n, H) float32."""
    rows, columns = _axes(low_res_logits.shape, frame)
    yield from _blocks(low_res_logits, rows, columns, (window.y1, window.y2), (window.x1, window.x2))


def window_above(low_res_logits: FloatArray, frame: Frame, threshold: float) -> Window:
    """Return a window outside of which no upsampled logit exceeds a threshold; empty if none does anywhere.

    An upsampled logit is a mean of neighbors, so it cannot exceed what all of its neighbors stay below.

    Args:
        low_res_logits: (h, w) float32.
    """
    rows, columns = _axes(low_res_logits.shape, frame)
    above = low_res_logits > threshold
    y1, y2 = rows.reached_by(np.flatnonzero(above.any(axis=1)))
    x1, x2 = columns.reached_by(np.flatnonzero(above.any(axis=0)))
    return Window(x1, y1, x2, y2) if x1 < x2 and y1 < y2 else Window(0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class _Axis:
    """Both bilinear steps along one axis as a matrix, cut into tiles of the rows' own few columns.

    tiles: (T, side, band) float32, T * side covering the original length.
    sources: (T, band) int64, which low-resolution logits a tile mixes.
    first, last: (original,) int64, the range of low-resolution logits that one pixel mixes.
    """

    tiles: FloatArray
    sources: IntArray
    first: IntArray
    last: IntArray

    def apply(self, logits: FloatArray, start: int, stop: int) -> FloatArray:
        """Upsample (low, n) to rows start..stop: (stop - start, n)."""
        side = self.tiles.shape[1]
        begin, end = start // side, -(-stop // side)
        out = self.tiles[begin:end] @ logits[self.sources[begin:end]]
        return out.reshape((end - begin) * side, logits.shape[1])[start - begin * side : stop - begin * side]

    def reached_by(self, logits: IntArray) -> tuple[int, int]:
        """Return the start and stop of the pixels that mix low-resolution logits of these indices, in order."""
        if not len(logits):
            return 0, 0
        return int(np.searchsorted(self.last, logits[0])), int(np.searchsorted(self.first, logits[-1], side="right"))


def _blocks(
    logits: FloatArray, first: _Axis, second: _Axis, first_range: tuple[int, int], second_range: tuple[int, int]
) -> Iterator[tuple[int, FloatArray]]:
    """Yield (n, length of first_range) logits, a block along the second axis at a time, with the block's start."""
    (start, stop), length = second_range, first_range[1] - first_range[0]
    halfway = np.ascontiguousarray(first.apply(logits, *first_range).T)  # (low, length)
    side = second.tiles.shape[1]
    step = max(1, _BLOCK // (length * side)) * side if length else side
    while start < stop:
        end = min((start // step + 1) * step, stop)
        yield start, second.apply(halfway, start, end)
        start = end


def _axes(shape: tuple[int, ...], frame: Frame) -> tuple[_Axis, _Axis]:
    (height, width), (input_height, input_width), size = frame.original_hw, frame.input_hw, frame.image_size
    side = _tile_side(max(shape[-2] / height, shape[-1] / width), max(height, width, *shape[-2:]))
    return (
        _axis(shape[-2], size, input_height, height, side),
        _axis(shape[-1], size, input_width, width, side),
    )


def _tile_side(ratio: float, length: int) -> int:
    """Return how many pixels a tile has, so that its product with rows of ``length`` stays quiet."""
    for side in (32, 16, 8, 4, 2):
        if side * (side * ratio + 4) * length <= _QUIET_PRODUCT:
            return side
    return 1


@functools.lru_cache(maxsize=16)
def _axis(low: int, square: int, used: int, original: int, side: int) -> _Axis:
    weights = _axis_weights(low, square, used, original)
    first = np.argmax(weights != 0, axis=1)
    last = low - 1 - np.argmax(weights[:, ::-1] != 0, axis=1)
    starts = np.arange(0, original, side)
    stops = np.minimum(starts + side, original)
    band = int((last[stops - 1] - first[starts]).max()) + 1
    sources = np.minimum(first[starts], low - band)[:, None] + np.arange(band)
    tiles = np.zeros((len(starts), side, band), np.float32)
    for tile, columns, start, stop in zip(tiles, sources, starts, stops, strict=True):
        tile[: stop - start] = weights[start:stop, columns]
    return _Axis(tiles, sources, first, last)


def _axis_weights(low: int, square: int, used: int, original: int) -> FloatArray:
    """Return the (original, low) matrix of both bilinear steps along one axis."""
    to_square = np.zeros((square, low), np.float64)
    lower, upper, fraction = _bilinear(low, square)
    index = np.arange(square)
    to_square[index, lower] += 1 - fraction
    to_square[index, upper] += fraction
    lower, upper, fraction = _bilinear(used, original)
    weights = to_square[lower] * (1 - fraction)[:, None] + to_square[upper] * fraction[:, None]
    return weights.astype(np.float32)


def _bilinear(source: int, target: int) -> tuple[IntArray, IntArray, FloatArray]:
    """Neighbors and fraction of each target pixel, pixel centers at half, edges repeated (align_corners=False).

    In float32 like torch's own: in float64 the fractions differ enough to move a pixel across the threshold.
    """
    scale = np.float32(source) / np.float32(target)
    position = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    lower = np.minimum(position.astype(np.int64), source - 1)
    return lower, np.minimum(lower + 1, source - 1), position - lower.astype(np.float32)
