"""Masks and images in the form that the page receives."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from mobilesam.formats import masked_image
from mobilesam.masks import rle, run_lengths
from mobilesam.webui import masks, view


def unpack(text: str, hw: tuple[int, int]) -> np.ndarray:
    """Return the mask that a text stands for, read as the module describes it."""
    pixels, position, value, shift, inside = np.zeros(hw[0] * hw[1], np.bool_), 0, 0, 0, False
    for byte in base64.b64decode(text):
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            pixels[position : position + value] = inside
            position, value, shift, inside = position + value, 0, 0, not inside
    return pixels.reshape(hw)


MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 300)))


@given(MASKS)
def test_a_packed_mask_is_unpacked_to_the_same(mask: np.ndarray) -> None:
    assert np.array_equal(unpack(view.pack(mask), (mask.shape[0], mask.shape[1])), mask)


def test_a_mask_is_written_as_described() -> None:
    mask = np.zeros((2, 300), np.bool_)
    mask[1, 4:6] = True
    assert base64.b64decode(view.pack(mask)) == bytes([0x80 | (304 & 0x7F), 304 >> 7, 2])
    assert view.pack(np.zeros((3, 3), np.bool_)) == ""


@given(MASKS)
def test_a_segment_of_an_image_shown_whole_is_the_mask(mask: np.ndarray) -> None:
    hw = (mask.shape[0], mask.shape[1])
    text = view.shown_segment(rle.to_uncompressed(rle.boundaries_of(mask), hw))
    assert np.array_equal(unpack(text, hw), mask)


def test_a_segment_of_a_large_image_is_shown_smaller_at_the_same_place() -> None:
    hw = (1024, 4096)
    mask = np.zeros(hw, np.bool_)
    mask[200:600, 1000:3000] = True
    text = view.shown_segment(rle.to_uncompressed(rle.boundaries_of(mask), hw))
    assert np.array_equal(unpack(text, (512, 2048)), mask[1::2, 1::2])


@pytest.mark.parametrize(
    ("hw", "shown"), [((480, 640), (480, 640)), ((3000, 4000), (1536, 2048)), ((5000, 3), (2048, 1)), ((1, 1), (1, 1))]
)
def test_large_images_are_shown_smaller(hw: tuple[int, int], shown: tuple[int, int]) -> None:
    assert view.preview_hw(hw) == shown
    preview = Image.open(io.BytesIO(view.preview(np.full((*hw, 3), 90, np.uint8))))
    assert (preview.format, preview.size) == ("JPEG", (shown[1], shown[0]))


def test_a_crop_is_a_part_of_the_image_of_at_most_so_many_pixels() -> None:
    image = np.zeros((1000, 3000, 3), np.uint8)
    image[100:300, 500:900] = 250
    whole = Image.open(io.BytesIO(view.crop(image, (500, 100, 400, 200), 2048)))
    assert (whole.format, whole.size, np.asarray(whole).min() > 240) == ("JPEG", (400, 200), True)
    assert Image.open(io.BytesIO(view.crop(image, (0, 0, 3000, 1000), 300))).size == (300, 100)
    assert Image.open(io.BytesIO(view.crop(image, (0, 0, 3000, 1), 30))).size == (30, 1)
    assert Image.open(io.BytesIO(view.crop(image, (2999, 999, 1, 1), 1))).size == (1, 1)


@given(MASKS)
def test_a_frozen_mask_is_shown_as_it_is_saved(mask: np.ndarray) -> None:
    hw = (mask.shape[0], mask.shape[1])
    boundaries = rle.boundaries_of(mask)
    frozen = view.frozen_view(masked_image.read_record(boundaries, hw))
    assert np.array_equal(unpack(frozen["rle"], hw), mask)
    assert np.array_equal(run_lengths.boundaries_of_text(frozen["segmentation"]["counts"], hw), boundaries)
    assert (frozen["area"], frozen["predicted_iou"]) == (mask.sum(), None)


def test_a_cleaned_mask_has_no_small_holes_and_specks_and_says_so() -> None:
    hw = (200, 300)
    mask = np.zeros(hw, np.bool_)
    mask[20:120, 30:200] = True
    expected = mask.copy()
    mask[50:55, 60:65] = False  # 25 pixels, less than 0.1 % of the image
    mask[180:184, 280:284] = True
    mask[90:110, 100:120] = expected[90:110, 100:120] = False  # a hole of 400 pixels is part of the shape
    record = masked_image.read_record(rle.boundaries_of(mask), hw)
    cleaned = masks.cleaned(record, hw)
    assert np.array_equal(rle.rle_to_mask(cleaned["segmentation"]), expected)
    assert (cleaned["area"], cleaned["bbox"]) == (expected.sum(), [30, 20, 169, 99])
    assert masks.cleaned(cleaned, hw) == cleaned
    empty = masked_image.read_record(rle.boundaries_of(np.zeros(hw, np.bool_)), hw)
    assert masks.cleaned(empty, hw) == empty
