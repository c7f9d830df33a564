"""COCO's compressed run lengths from files and clients, checked before they are used."""

from __future__ import annotations

import numpy as np

from mobilesam.arrays import AnyIntArray, IntArray
from mobilesam.errors import InputError
from mobilesam.masks import rle

_LONGEST = 7  # characters of a number: 35 bits, enough for any image

WRONG_COUNTS = "the RLE counts do not add up to the size of the image"


def boundaries_of_text(counts: str, hw: tuple[int, int]) -> AnyIntArray:
    """Return the boundaries of a mask of (height, width) from the ``counts`` of a COCO RLE.

    The counts have 5 bits a character, least significant first; from the fourth on, each is the difference to the one
    two before it.

    Raises:
        InputError: the counts are malformed, or do not add up to the size of the image.
    """
    total = hw[0] * hw[1]
    runs = _runs(counts)
    if (runs < 0).any() or (runs > total).any() or runs.sum() != total:
        raise InputError(WRONG_COUNTS)
    ends = np.cumsum(runs)
    return rle.union([ends[: len(ends) // 2 * 2]])  # without empty runs, which other programs may write


def _runs(counts: str) -> IntArray:
    codes = np.frombuffer(counts.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    if not len(codes) or (codes < 0).any() or (codes > 63).any() or ends[-1:].tolist() != [len(codes) - 1]:
        raise InputError(WRONG_COUNTS)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        raise InputError(WRONG_COUNTS)
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs: IntArray = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << 5 * lengths, 0)
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs
