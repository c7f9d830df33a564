"""Annotated objects in the frames of the network: masks of the model frame, and their coverage of the logits.

Letters: h w are the sides of an image in the model frame, S the side of the square (1024), s that of the logits (256).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from mobilesam.arrays import BoolArray, FloatArray, IntArray
from mobilesam.evaluate.metrics import tight_box
from mobilesam.geometry import resized_hw

MIN_PIXELS = 16  # of a mask in the model frame, the area of one logit


@dataclass(frozen=True, eq=False)
class Target:
    """The mask of an object, cropped to its box and packed to bits, so that thousands of them fit into memory.

    box: (4,) int64, x1 y1 x2 y2 in pixels of the model frame, x2 and y2 exclusive.
    bits: the pixels in the box, row by row.
    """

    box: IntArray
    bits: bytes

    @property
    def crop(self) -> BoolArray:
        """The pixels in the box, (h, w) bool."""
        x1, y1, x2, y2 = self.box.tolist()
        pixels = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=(y2 - y1) * (x2 - x1))
        return pixels.reshape(y2 - y1, x2 - x1).astype(np.bool_)

    def mask(self, size: int) -> BoolArray:
        """Return the mask in a square of ``size`` pixels, (S, S) bool."""
        x1, y1, x2, y2 = self.box.tolist()
        mask = np.zeros((size, size), np.bool_)
        mask[y1:y2, x1:x2] = self.crop
        return mask

    def coverage(self, size: int, logits_size: int) -> FloatArray:
        """Return how much of each logit's cell the mask covers, (s, s) float32 in 0..1."""
        cell = size // logits_size
        if cell == 1:
            return self.mask(size).astype(np.float32)
        cells = self.mask(size).reshape(logits_size, cell, logits_size, cell)
        covered: FloatArray = cells.mean(axis=(1, 3), dtype=np.float32)
        return covered


def make_target(mask: BoolArray, size: int) -> Target | None:
    """Return the target of a mask, (H, W) bool, in a square of ``size`` pixels; None if it has too few pixels there."""
    rows, columns = resized_hw((mask.shape[0], mask.shape[1]), size)
    if not mask.any():
        return None
    smaller = math.prod(mask.shape) > rows * columns
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    scaled = cv2.resize(mask.astype(np.uint8) * 255, (columns, rows), interpolation=method) > 127
    if np.count_nonzero(scaled) < MIN_PIXELS:
        return None
    box = tight_box(scaled).astype(np.int64)
    x1, y1, x2, y2 = box.tolist()
    return Target(box, np.packbits(scaled[y1:y2, x1:x2]).tobytes())
