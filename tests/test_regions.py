"""Small regions: the windowed clean-up is the clean-up of the whole image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mobilesam.errors import InputError
from mobilesam.masks import rle
from mobilesam.masks.regions import clean, remove_small_regions


def plain_clean(mask, min_area):
    """Fill holes, then remove islands, in the whole image, one region at a time."""
    mask, changed = mask.copy(), False
    _, labels = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=8)
    for label in range(1, labels.max() + 1):
        if (labels == label).sum() < min_area:
            mask[labels == label], changed = True, True
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    areas = [(labels == label).sum() for label in range(1, count)]
    for label, area in enumerate(areas, start=1):
        if area < min_area:
            changed = True
            if max(areas) >= min_area or label != 1 + int(np.argmax(areas)):
                mask[labels == label] = False
    return mask, changed


def blobs(random, hw, margin):
    """Return a mask of patches and specks with an empty margin, which is what a window saves."""
    mask = np.zeros(hw, bool)
    top, left, bottom, right = margin
    inner = mask[top : hw[0] - bottom, left : hw[1] - right]
    noise = cv2.GaussianBlur(random.normal(size=inner.shape), (0, 0), 1.5)
    inner[...] = noise > random.normal() * 0.15
    return mask


@pytest.mark.parametrize("min_area", [1, 5, 40, 400, 5000])
@pytest.mark.parametrize("margin", [(0, 0, 0, 0), (9, 0, 0, 14), (1, 1, 2, 30), (0, 25, 25, 0), (10, 10, 10, 10)])
def test_a_window_is_enough(min_area, margin):
    random = np.random.default_rng(sum(margin) + min_area)
    for _ in range(20):
        mask = blobs(random, (48, 64), margin)
        boundaries, changed = clean(rle.boundaries_of(mask), mask.shape, min_area)
        expected, expected_changed = plain_clean(mask, min_area)
        np.testing.assert_array_equal(rle.mask_of(boundaries, mask.shape), expected)
        assert changed == expected_changed


def test_a_strip_beyond_the_mask_may_be_a_hole():
    mask = np.ones((30, 20), bool)
    mask[:2] = False
    boundaries, changed = clean(rle.boundaries_of(mask), mask.shape, 41)
    assert changed
    assert rle.mask_of(boundaries, mask.shape).all()
    assert clean(rle.boundaries_of(mask), mask.shape, 40)[1] is False


def test_an_empty_mask_stays_empty():
    boundaries, changed = clean(np.zeros(0, np.int64), (30, 20), 100)
    assert not len(boundaries)
    assert not changed


def test_mode_is_checked():
    message = "mode must be one of holes, islands, got 'hole'; did you mean 'holes'?"
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        remove_small_regions(np.ones((2, 2), bool), 5, "hole")
