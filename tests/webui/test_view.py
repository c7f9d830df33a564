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

from mobilesam.masks import rle
from mobilesam.webui import view


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
