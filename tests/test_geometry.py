"""The frames and the maps between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilesam.geometry import (
    boxes_to_model,
    covered_tokens,
    points_to_model,
    resized_hw,
)

sides = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("original_hw", "expected"),
    [
        ((512, 512), (1024, 1024)),
        ((400, 600), (683, 1024)),
        ((600, 400), (1024, 683)),
        ((3000, 4000), (768, 1024)),
        ((1, 1), (1024, 1024)),
        ((1, 4000), (1, 1024)),  # rounds to 0 in the reference, which then fails
        ((4000, 1), (1024, 1)),
        ((1024, 1), (1024, 1)),
        ((3, 2048), (2, 1024)),  # 1.5 rounds up
        ((5, 2048), (3, 1024)),  # 2.5 rounds up too, where Python's round would give 2
    ],
)
def test_resized_hw_rounds_half_up_and_never_to_zero(original_hw: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_hw(original_hw, 1024) == expected


@settings(deadline=None)
@given(sides, sides)
def test_the_longer_side_is_the_models_and_none_is_zero(height: int, width: int) -> None:
    resized = resized_hw((height, width), 1024)
    assert max(resized) == 1024
    assert min(resized) >= 1
    assert resized_hw((width, height), 1024) == resized[::-1]


@settings(deadline=None)
@given(sides, sides, st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_a_point_keeps_its_place_in_the_model_frame(height: int, width: int, right: float, down: float) -> None:
    original_hw, input_hw = (height, width), resized_hw((height, width), 1024)
    point = np.array([right * width, down * height])
    place = points_to_model(point, original_hw, input_hw) / np.array(input_hw[::-1])
    np.testing.assert_allclose(place, [right, down], rtol=1e-6, atol=1e-6)


def test_corners_of_the_photo_map_to_corners_of_the_model_frame() -> None:
    corners = np.array([[0, 0], [600, 400]])
    mapped = points_to_model(corners, (400, 600), (683, 1024))
    assert mapped.dtype == np.float32
    np.testing.assert_array_equal(mapped, [[0, 0], [1024, 683]])


def test_large_coordinates_are_scaled_before_they_are_rounded_to_float32() -> None:
    # 16777217 is the first integer that float32 cannot hold.
    mapped = points_to_model(np.array([[16_777_217.0, 1.0]]), (2, 2), (1, 1))
    assert mapped[0, 0] == np.float32(16_777_217 / 2)


def test_boxes_map_as_their_corners_in_any_batch() -> None:
    boxes = np.array([[[1, 2, 30, 40]], [[5, 6, 70, 80]]])
    mapped = boxes_to_model(boxes, (400, 600), (683, 1024))
    assert mapped.shape == (2, 1, 4)
    np.testing.assert_array_equal(mapped[..., :2], points_to_model(boxes[..., :2], (400, 600), (683, 1024)))
    np.testing.assert_array_equal(mapped[..., 2:], points_to_model(boxes[..., 2:], (400, 600), (683, 1024)))


@pytest.mark.parametrize("side", [1, 2, 15, 16, 17, 682, 683, 1007, 1008, 1009, 1022, 1023, 1024])
def test_covered_tokens_are_those_that_pixels_are_mixed_of(side):
    position = max(0.0, (side - 0.5) / 4 - 0.5)  # of the last pixel, in logits
    mixed = min(int(position), 255), min(int(position) + 1, 255)
    assert covered_tokens((side, 1024), 1024, 64) == (max(mixed) // 4 + 1, 64)
    assert covered_tokens((1024, side), 1024, 64) == (64, max(mixed) // 4 + 1)
