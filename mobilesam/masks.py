"""What happens to mask logits after the network: upsampling, in NumPy, on any window of the picture.

SAM brings 256 × 256 logits to the picture in two bilinear steps: to the padded 1024 × 1024 square, whose used part is
cut out, then to the original size. Both steps are linear and separable, so each axis is one matrix, and a window of the
result needs only that window's rows of it. No full-size intermediate exists.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

# A product of more multiplications than this wakes OpenBLAS's threads, which then spin on the cores that the network's
# own threads need: measured on 2 cores, one click took 56 ms instead of 20.
_QUIET_PRODUCT = 64**3


def upsample(
    low_res_logits: FloatArray,
    input_hw: tuple[int, int],
    original_hw: tuple[int, int],
    image_size: int,
    *,
    window_xyxy: tuple[int, int, int, int] | None = None,
    threshold: float | None = None,
) -> npt.NDArray[np.float32] | npt.NDArray[np.bool_]:
    """Bring low-resolution logits to the original picture.

    Args:
        low_res_logits: (..., h, w) float32, covering the padded square.
        input_hw: (height, width) of the picture in the model frame.
        original_hw: (height, width) of the original picture.
        image_size: side of the padded square, 1024.
        window_xyxy: the part of the original picture that is wanted; all of it by default.
        threshold: give a bool mask of the logits above it instead of the logits.

    Returns:
        (..., H, W) float32 logits, or bool, where H and W are those of the window.
    """
    x1, y1, x2, y2 = window_xyxy or (0, 0, original_hw[1], original_hw[0])
    rows = _axis_weights(low_res_logits.shape[-2], image_size, input_hw[0], original_hw[0])
    columns = _axis_weights(low_res_logits.shape[-1], image_size, input_hw[1], original_hw[1])
    shape = (*low_res_logits.shape[:-2], y2 - y1, x2 - x1)
    out = np.empty(shape, np.float32 if threshold is None else np.bool_)
    tile = _tile_side(rows, columns)
    for top in range(y1, y2, tile):
        row_weights, row_band = _band(rows, top, min(top + tile, y2))
        for left in range(x1, x2, tile):
            column_weights, column_band = _band(columns, left, min(left + tile, x2))
            logits = row_weights @ low_res_logits[..., row_band, column_band] @ column_weights.T
            part = out[..., top - y1 : top - y1 + tile, left - x1 : left - x1 + tile]
            if threshold is None:
                part[...] = logits
            else:
                np.greater(logits, threshold, out=part)
    return out


def _tile_side(rows: FloatArray, columns: FloatArray) -> int:
    """Return how many output pixels a side to compute at once."""
    for side in (256, 128, 64, 32):
        band = max(side * weights.shape[1] // weights.shape[0] for weights in (rows, columns)) + 4
        if side * side * band <= _QUIET_PRODUCT and side * band * band <= _QUIET_PRODUCT:
            return side
    return 16


def _band(weights: FloatArray, start: int, stop: int) -> tuple[FloatArray, slice]:
    """Return the rows start..stop of an axis matrix without its zero columns, and the slice of those columns."""
    used = weights[start:stop]
    first = int(np.argmax(used[0] != 0))
    last = used.shape[1] - int(np.argmax(used[-1, ::-1] != 0))
    return used[:, first:last], slice(first, last)


@functools.lru_cache(maxsize=4)
def _axis_weights(low: int, square: int, used: int, original: int) -> FloatArray:
    """Return the (original, low) matrix of both bilinear steps along one axis."""
    to_square = np.zeros((square, low), np.float64)
    lower, upper, fraction = _bilinear(low, square)
    index = np.arange(square)
    to_square[index, lower] += 1 - fraction
    to_square[index, upper] += fraction
    lower, upper, fraction = _bilinear(used, original)
    weights = to_square[lower] * (1 - fraction)[:, None] + to_square[upper] * fraction[:, None]
    weights = weights.astype(np.float32)
    weights.setflags(write=False)
    return weights


def _bilinear(source: int, target: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Neighbours and fraction of each target pixel, pixel centres at half, edges repeated (align_corners=False).

    In float32 like torch's own: in float64 the fractions differ enough to move a pixel across the threshold.
    """
    scale = np.float32(source) / np.float32(target)
    position = np.maximum((np.arange(target, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    lower = np.minimum(position.astype(np.int64), source - 1)
    return lower, np.minimum(lower + 1, source - 1), position - lower.astype(np.float32)
