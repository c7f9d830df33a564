"""Run lengths against pycocotools and against the plain definition."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from mobilesam.masks import rle


def random_masks():
    random = np.random.default_rng(0)
    yield "empty", np.zeros((5, 7), bool)
    yield "full", np.ones((5, 7), bool)
    yield "one pixel", np.ones((1, 1), bool)
    yield "one column", random.random((40, 1)) < 0.5
    yield "one row", random.random((1, 40)) < 0.5
    yield "first pixel", np.arange(35).reshape(5, 7) == 0
    yield "last pixel", np.arange(35).reshape(5, 7) == 34
    for share in (0.02, 0.5, 0.98):
        yield f"noise of {share}", random.random((31, 23)) < share
    stripes = np.zeros((6, 9), bool)
    stripes[:, 2:5] = True
    yield "whole columns", stripes


MASKS = dict(random_masks())


@pytest.fixture(params=MASKS)
def mask(request):
    return MASKS[request.param]


def plain_counts(mask):
    """Count runs pixel by pixel in column order, background first."""
    counts, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def test_decoding_gives_the_mask_back(mask):
    decoded = rle.mask_of(rle.boundaries_of(mask), mask.shape)
    assert decoded.dtype == np.bool_
    np.testing.assert_array_equal(decoded, mask)


def test_boundaries_grow_strictly(mask):
    assert (np.diff(rle.boundaries_of(mask)) > 0).all()


def test_uncompressed_is_the_plain_count(mask):
    encoded = rle.to_uncompressed(rle.boundaries_of(mask), mask.shape)
    assert encoded == {"size": list(mask.shape), "counts": plain_counts(mask)}
    np.testing.assert_array_equal(rle.rle_to_mask(encoded), mask)
    assert rle.area_from_rle(encoded) == mask.sum()


def test_compressed_is_pycocotools_byte_for_byte(mask):
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    encoded = rle.to_coco(rle.boundaries_of(mask), mask.shape)
    assert encoded == {"size": list(mask.shape), "counts": expected["counts"].decode()}


def test_area_and_box(mask):
    boundaries = rle.boundaries_of(mask)
    assert rle.area(boundaries) == mask.sum()
    y, x = np.nonzero(mask)
    expected = (x.min(), y.min(), x.max(), y.max()) if len(x) else (0, 0, 0, 0)
    assert rle.box(boundaries, mask.shape[0]) == expected


def test_a_window_is_encoded_as_the_whole_photo_is():
    random = np.random.default_rng(1)
    for x1, y1, x2, y2 in [(0, 0, 30, 20), (3, 0, 9, 20), (5, 4, 6, 5), (0, 7, 30, 20), (29, 0, 30, 20)]:
        photo = np.zeros((20, 30), bool)
        photo[y1:y2, x1:x2] = random.random((y2 - y1, x2 - x1)) < 0.7
        window = photo[y1:y2, x1:x2]
        boundaries = rle.boundaries_of_columns(window.T, (x1, y1), 20)
        np.testing.assert_array_equal(boundaries, rle.boundaries_of(photo))
        np.testing.assert_array_equal(rle.columns_of(boundaries, 20, x1, x2), photo[:, x1:x2])


def test_union_intersection_and_iou():
    random = np.random.default_rng(2)
    masks = [random.random((17, 23)) < share for share in (0.2, 0.5, 0.9)] + [np.zeros((17, 23), bool)]
    for first in masks:
        for second in masks:
            pair = [rle.boundaries_of(first), rle.boundaries_of(second)]
            np.testing.assert_array_equal(rle.union(pair), rle.boundaries_of(first | second))
            np.testing.assert_array_equal(rle.intersection(pair), rle.boundaries_of(first & second))
            together = (first | second).sum()
            assert rle.iou(*pair) == pytest.approx((first & second).sum() / together if together else 0)
    three = [rle.boundaries_of(mask) for mask in masks[:3]]
    np.testing.assert_array_equal(rle.intersection(three), rle.boundaries_of(masks[0] & masks[1] & masks[2]))


def test_rectangle():
    for x1, y1, x2, y2 in [(0, 0, 5, 4), (1, 1, 3, 2), (2, 0, 4, 4), (1, 1, 1, 3)]:
        mask = np.zeros((4, 5), bool)
        mask[y1:y2, x1:x2] = True
        np.testing.assert_array_equal(rle.rectangle(x1, y1, x2, y2, 4), rle.boundaries_of(mask))


def test_columns_may_cut_a_run():
    boundaries = rle.boundaries_of(np.ones((4, 6), bool))
    assert rle.columns_of(boundaries, 4, 2, 5).all()
    assert rle.columns_of(boundaries, 4, 2, 5).shape == (4, 3)


def test_a_mask_larger_than_what_is_decoded_at_a_time_comes_back():
    mask = np.random.default_rng(1).random((1300, 1000)) < 0.1
    assert mask.size > rle._BLOCK
    np.testing.assert_array_equal(rle.mask_of(rle.boundaries_of(mask), mask.shape), mask)
