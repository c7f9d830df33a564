"""A mask that a model made, measured in the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mobilesam.arrays import AnyIntArray, FloatArray
from mobilesam.masks import rle
from mobilesam.masks.upsampling import Frame, upsampled_columns, window_above

Box = tuple[int, int, int, int]


class Candidate(NamedTuple):
    """One mask in the image.

    boundaries: its runs, see :mod:`mobilesam.masks.rle`.
    box: x1 y1 x2 y2 of its outermost pixels.
    point: x y of the point it was asked for with, None if it was a box.
    crop_box: x1 y1 x2 y2 of the crop it was found in.
    """

    boundaries: AnyIntArray
    box: Box
    predicted_iou: np.float32
    stability: np.float32
    point: tuple[float, float] | None
    crop_box: Box


class Measured(NamedTuple):
    """A mask's runs in the image, and how little it depends on the threshold (0 for an empty mask)."""

    boundaries: AnyIntArray
    stability: np.float32


def measure(
    low_res_logits: FloatArray,
    frame: Frame,
    crop_xy: tuple[int, int],
    image_height: int,
    *,
    threshold: float,
    offset: float,
    min_stability: float = 0.0,
) -> Measured | None:
    """Upsample one mask on its own window, or return None if it is not stable enough.

    The stability is the IoU of the masks at ``threshold`` plus and minus ``offset``.

    Args:
        low_res_logits: (256, 256) float32.
        frame: of the crop that was encoded. crop_xy: where in the image it lies.
    """
    window = window_above(low_res_logits, frame, threshold - offset)
    certain = possible = 0
    blocks = []
    for x, logits in upsampled_columns(low_res_logits, frame, window):
        certain += int(np.count_nonzero(logits > threshold + offset))
        possible += int(np.count_nonzero(logits > threshold - offset))
        blocks.append((x, logits.shape, np.packbits(logits > threshold)))
    stability = np.float32(certain) / np.float32(possible) if possible else np.float32(0)
    if stability < np.float32(min_stability):
        return None
    y = window.y1 + crop_xy[1]
    runs = []
    # Eight pixels a byte, block by block: a whole window would be 24 MB on an image of 24 megapixels.
    for x, shape, packed in blocks:
        columns = np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).view(np.bool_)
        runs.append(rle.boundaries_of_columns(columns, (x + crop_xy[0], y), image_height))
    boundaries = rle.joined(np.concatenate([np.zeros(0, np.int64), *runs]))
    return Measured(boundaries.astype(np.int32), stability)  # hundreds are held until the best are known


def candidate_of(logits: FloatArray, score: np.float32, frame: Frame, *, threshold: float, offset: float) -> Candidate:
    """Return the candidate of one answer, (256, 256) logits, about a whole image, whatever its quality."""
    height, width = frame.original_hw
    measured = measure(logits, frame, (0, 0), height, threshold=threshold, offset=offset)
    assert measured is not None, "without a threshold every mask is measured"
    box = rle.box(measured.boundaries, height)
    return Candidate(measured.boundaries, box, score, measured.stability, None, (0, 0, width, height))
