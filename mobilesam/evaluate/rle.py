"""Ground-truth masks as the measurement uses them: compressed for the journal, and their boxes."""

from __future__ import annotations

import numpy as np

from mobilesam.arrays import BoolArray, FloatArray64
from mobilesam.masks.rle import boundaries_of, to_coco


def encode_mask(mask: BoolArray) -> str:
    """Return the compressed ``counts`` of a (H, W) bool mask."""
    counts: str = to_coco(boundaries_of(mask), (mask.shape[0], mask.shape[1]))["counts"]
    return counts


def tight_box(mask: BoolArray) -> FloatArray64:
    """Return x1 y1 x2 y2 around a mask that is not empty; x2 and y2 lie one past the last pixel, as in COCO boxes."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
