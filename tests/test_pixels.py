"""Arrays to RGB: what is taken, and the sentence for what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mobilesam.errors import InputError
from mobilesam.image.pixels import to_rgb

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


def test_rgb_is_passed_on_without_a_copy() -> None:
    assert to_rgb(COLOUR) is COLOUR or np.shares_memory(to_rgb(COLOUR), COLOUR)
    np.testing.assert_array_equal(to_rgb(COLOUR), COLOUR)


def test_bgr_is_turned_and_contiguous() -> None:
    rgb = to_rgb(COLOUR, "BGR")
    np.testing.assert_array_equal(rgb, COLOUR[..., ::-1])
    assert rgb.flags.c_contiguous


def test_a_view_becomes_contiguous() -> None:
    rgb = to_rgb(COLOUR[::2, ::-1])
    assert rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, COLOUR[::2, ::-1])


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1)])
def test_gray_is_repeated(shape: tuple[int, ...], image_format: str) -> None:
    rgb = to_rgb(GRAY.reshape(shape), image_format)
    assert rgb.shape == (3, 4, 3)
    for channel in range(3):
        np.testing.assert_array_equal(rgb[..., channel], GRAY)


def test_transparent_pixels_show_white_and_opaque_ones_themselves() -> None:
    pixel = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [10, 20, 30, 128]]], dtype=np.uint8)
    expected = [[10, 20, 30], [255, 255, 255], [132, 137, 142]]  # 255 - (255 - color) * 128 / 255, rounded
    np.testing.assert_array_equal(to_rgb(pixel)[0], expected)
    np.testing.assert_array_equal(to_rgb(pixel[..., [2, 1, 0, 3]], "BGR")[0], expected)


def test_gray_with_alpha() -> None:
    pixels = np.array([[[40, 255], [40, 0]]], dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(pixels)[0], [[40] * 3, [255] * 3])


def test_bool_is_black_and_white() -> None:
    np.testing.assert_array_equal(to_rgb(np.array([[True, False]]))[0], [[255] * 3, [0] * 3])


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint32, np.uint16])
def test_integers_within_a_byte_are_taken_as_they_are(dtype: type) -> None:
    np.testing.assert_array_equal(to_rgb(COLOUR.astype(dtype)), COLOUR)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_uint16_is_scaled_by_the_bits_it_uses(bits: int) -> None:
    top = 2**bits - 1
    values = np.array([[0, 5, top // 2, 3 * top // 4, top]])
    np.testing.assert_array_equal(to_rgb(values.astype(np.uint16))[..., 0], np.floor(values * 255 / top + 0.5))


def test_sixteen_bits_made_from_eight_come_back_exactly() -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    np.testing.assert_array_equal(to_rgb(values * 257)[..., 0], values)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_zero_to_one(dtype: type) -> None:
    values = np.array([[0, 0.25, 0.5, 1]], dtype=dtype)
    np.testing.assert_array_equal(to_rgb(values)[0, :, 0], [0, 64, 128, 255])


def test_float_rounding_beyond_one_is_clipped() -> None:
    np.testing.assert_array_equal(to_rgb(np.array([[-1e-6, 1 + 1e-6]]))[0, :, 0], [0, 255])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (None, "image must be an image, got None; pass a path, a Pillow image or an (H, W, 3) array"),
        (
            np.zeros((3, 20, 30)),
            "image must be an (H, W), (H, W, 1..4) array, got shape (3, 20, 30); "
            "move the channels last with image.transpose(1, 2, 0)",
        ),
        (np.zeros((1, 20, 30, 3)), "got shape (1, 20, 30, 3); pass image[0]"),
        (np.zeros((2, 20, 30, 3)), "got shape (2, 20, 30, 3); pass one image at a time"),
        (np.zeros((20, 30, 5)), "got shape (20, 30, 5); pass three of its channels"),
        (np.zeros(20), "got shape (20,); pass one image at a time"),
        (np.uint8(3), "got shape (); pass one image at a time"),
        (np.zeros((0, 0, 3)), "image must have pixels, got shape (0, 0, 3); check how it was read or cropped"),
        (np.zeros((20, 0), dtype=np.uint8), "image must have pixels, got shape (20, 0)"),
        (np.array([[0, np.nan], [np.inf, 0]]), "image must be finite, got 2 NaN or infinite values"),
        (np.array([[-0.5, 0.5]]), "image must have floats in 0..1, got -0.5..0.5; scale it to 0..1"),
        (np.array([[0.0, 200.0]]), "image must have floats in 0..1, got 0..200; use image.astype(np.uint8)"),
        (np.array([[0, 256]]), "image must have integers in 0..255, got 0..256 (int64); scale it to 0..255"),
        (np.array([[-1, 3]], dtype=np.int8), "image must have integers in 0..255, got -1..3 (int8)"),
        (np.array([[None]]), "image must have numbers, got ndarray of dtype object"),
        (np.array([["a"]]), "image must have numbers, got ndarray of dtype <U1"),
        (np.zeros((2, 2), dtype=complex), "image must have numbers, got ndarray of dtype complex128"),
        ([[1, 2], [3]], "image must be an (H, W), (H, W, 1..4) array, got list (setting an array element"),
    ],
)
def test_what_is_refused(array: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        to_rgb(array)
    assert message in str(caught.value)


def test_the_name_and_the_format_are_in_the_message() -> None:
    with pytest.raises(InputError, match=r"^background must have pixels"):
        to_rgb(np.zeros((0, 3)), name="background")
    with pytest.raises(InputError, match=r"image_format must be one of RGB, BGR, got 'BRG'; did you mean"):
        to_rgb(COLOUR, "BRG")


any_array = npst.arrays(
    dtype=st.one_of(
        npst.integer_dtypes(), npst.unsigned_integer_dtypes(), npst.floating_dtypes(), npst.boolean_dtypes()
    ),
    shape=npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


@settings(deadline=None)
@given(any_array)
def test_any_array_of_numbers_gives_a_photo_or_a_sentence(array: Any) -> None:
    try:
        rgb = to_rgb(array)
    except InputError:
        return
    assert rgb.shape == (*array.shape[:2], 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
