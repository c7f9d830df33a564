"""A decoded mask, measured in the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mobilesam.arrays import AnyIntArray, FloatArray
from mobilesam.masks import rle
from mobilesam.masks.upsampling import Frame, upsampled_columns, window_above

Box = rle.Box


class Candidate(NamedTuple):
    """One mask in the image.

    boundaries: its runs; see :mod:`mobilesam.masks.rle`.
    box: x1 y1 x2 y2 of its outermost pixels.
    point: x y of the point prompt, or None for a box prompt.
    crop_box: x1 y1 x2 y2 of the crop that was decoded.
    """

    boundaries: AnyIntArray
    box: Box
    predicted_iou: np.float32
    stability: np.float32
    point: tuple[float, float] | None
    crop_box: Box


def measure(
    low_res_logits: FloatArray,
    predicted_iou: np.float32,
    frame: Frame,
    crop_box: Box,
    image_height: int,
    *,
    threshold: float,
    offset: float,
    min_stability: float = 0.0,
    point: tuple[float, float] | None = None,
) -> Candidate | None:
    """Upsample one mask inside its own window, and return None if its stability is below ``min_stability``.

    The stability is the IoU of the masks at ``threshold`` plus and minus ``offset``; 0 for an empty mask.

    Args:
        low_res_logits: (256, 256) float32.
        frame: of the crop.
        image_height: of the image that the crop is a part of.
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
    # Eight pixels a byte, block by block: a whole window would take 24 MB on an image of 24 megapixels.
    runs: list[AnyIntArray] = [np.zeros(0, np.int64)]
    for x, shape, packed in blocks:
        columns = np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).view(np.bool_)
        runs.append(rle.boundaries_of_columns(columns, (x + crop_box[0], window.y1 + crop_box[1]), image_height))
    # Hundreds of candidates are in memory until the best are known, so 32 bits each.
    boundaries = rle.joined(np.concatenate(runs)).astype(np.int32)
    return Candidate(boundaries, rle.box(boundaries, image_height), predicted_iou, stability, point, crop_box)


def candidate_of(
    low_res_logits: FloatArray, predicted_iou: np.float32, frame: Frame, *, threshold: float, offset: float
) -> Candidate:
    """Return the candidate of a mask of a whole image, (256, 256) logits, whatever its stability."""
    height, width = frame.original_hw
    box = (0, 0, width, height)
    candidate = measure(low_res_logits, predicted_iou, frame, box, height, threshold=threshold, offset=offset)
    assert candidate is not None, "the minimum is zero"
    return candidate
