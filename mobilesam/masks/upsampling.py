"""Upsampling of mask logits, in NumPy, on any window of the image.

SAM upsamples 256 × 256 logits in two bilinear steps: to the padded 1024 × 1024 square, from which the image's part is
cropped, and to the original size. Both steps are linear and separable. So each axis is one matrix with a few entries in
each row, and a window of the result needs only the rows of that window. No full-size intermediate is computed.
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

# OpenBLAS uses its threads for a matrix product of more multiplications than this. The threads then wait actively on
# cores that the network's threads need: on 2 cores, one click took 56 ms instead of 20.
_SINGLE_THREAD_PRODUCT = 64**3

_BLOCK = 2**18  # logits computed at once, 1 MB: they fit into the cache, and the overhead of Python is small


class Frame(NamedTuple):
    """The sizes that map low-resolution logits to an image.

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
    """Upsample low-resolution logits to the original image.

    Args:
        low_res_logits: (..., h, w) float32, covering the padded square.
        input_hw: (height, width) of the image in the model frame.
        original_hw: (height, width) of the original image.
        image_size: side of the padded square, 1024.
        window_xyxy: the part of the original image to compute; all of it by default.
        threshold: return the bool mask of the logits above it instead of the logits.

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
    """Yield a window's logits in blocks of columns: x of the first column, and (n, H) float32."""
    rows, columns = _axes(low_res_logits.shape, frame)
    yield from _blocks(low_res_logits, rows, columns, (window.y1, window.y2), (window.x1, window.x2))


def window_above(low_res_logits: FloatArray, frame: Frame, threshold: float) -> Window:
    """Return a window that contains all upsampled logits above a threshold; empty if there are none.

    An upsampled logit is a weighted mean of its neighbors, so it does not exceed the largest of them.

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
    """The matrix of both bilinear steps along one axis, stored as tiles of its nonzero columns.

    tiles: (T, side, band) float32, with T * side at least the original length.
    sources: (T, band) int64, the low-resolution logits that a tile uses.
    first, last: (original,) int64, the range of low-resolution logits that a pixel uses.
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
        """Return the start and stop of the pixels that use low-resolution logits of these indices, in order."""
        if not len(logits):
            return 0, 0
        return int(np.searchsorted(self.last, logits[0])), int(np.searchsorted(self.first, logits[-1], side="right"))


def _blocks(
    logits: FloatArray, first: _Axis, second: _Axis, first_range: tuple[int, int], second_range: tuple[int, int]
) -> Iterator[tuple[int, FloatArray]]:
    """Yield blocks along the second axis: their start, and (n, length of first_range) logits."""
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
    ratio, length = max(shape[-2] / height, shape[-1] / width), max(height, width, *shape[-2:])
    products = ((side, side * (side * ratio + 4) * length) for side in (32, 16, 8, 4, 2))
    side = next((side for side, product in products if product <= _SINGLE_THREAD_PRODUCT), 1)
    return _axis(shape[-2], size, input_height, height, side), _axis(shape[-1], size, input_width, width, side)


@functools.lru_cache(maxsize=16)
def _axis(low: int, square: int, used: int, original: int, side: int) -> _Axis:
    to_square = np.zeros((square, low), np.float64)
    lower, upper, fraction = _bilinear(low, square)
    index = np.arange(square)
    to_square[index, lower] += 1 - fraction
    to_square[index, upper] += fraction
    lower, upper, fraction = _bilinear(used, original)
    exact = to_square[lower] * (1 - fraction)[:, None] + to_square[upper] * fraction[:, None]
    weights = exact.astype(np.float32)  # (original, low), both bilinear steps
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


def _bilinear(source: int, target: int) -> tuple[IntArray, IntArray, FloatArray]:
    """Return both neighbors and the fraction of each target pixel, as with align_corners=False.

    The fractions are float32 as in torch. In float64 they differ enough to move a pixel across the threshold.
    """
    scale = np.float32(source) / np.float32(target)
    position = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    lower = np.minimum(position.astype(np.int64), source - 1)
    return lower, np.minimum(lower + 1, source - 1), position - lower.astype(np.float32)
