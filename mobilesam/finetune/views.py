"""Mirrored and cropped versions of an annotated image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mobilesam.arrays import BoolArray, UInt8Array

CROP_SIDES = (0.6, 0.85)  # of a crop, in those of the image
SMALLEST_PART = 0.6  # of an object that is kept in a crop


def vary(
    image: UInt8Array, masks: Sequence[BoolArray], number: int, random: np.random.Generator
) -> tuple[UInt8Array, list[BoolArray]]:
    """Return a version of an image, (H, W, 3), and of its masks, (H, W); masks that a crop cuts off are left out.

    number: 0 the image itself, 1 mirrored, 2 cropped, 3 mirrored and cropped.
    """
    kept = list(masks)
    if number >= 2:
        sides = [max(1, round(side * random.uniform(*CROP_SIDES))) for side in image.shape[:2]]
        starts = [int(random.integers(0, full - side + 1)) for full, side in zip(image.shape, sides, strict=False)]
        window = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        image = image[window]
        kept = [mask[window] for mask in masks if _share(mask, window) >= SMALLEST_PART]
    if number % 2:
        image, kept = image[:, ::-1], [mask[:, ::-1] for mask in kept]
    return np.ascontiguousarray(image), [np.ascontiguousarray(mask) for mask in kept]


def _share(mask: BoolArray, window: tuple[slice, ...]) -> float:
    return int(np.count_nonzero(mask[window])) / max(int(np.count_nonzero(mask)), 1)
