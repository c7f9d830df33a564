"""Overlays: what is painted where, and nothing else changed."""

import cv2
import numpy as np
import pytest

from mobilesam.errors import InputError
from mobilesam.visualize import BACKGROUND_COLOR, FOREGROUND_COLOR, overlay, palette


def gray(height: int, width: int, level: int = 128) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def square(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = True
    return mask


def test_palette_is_stable_and_its_first_colors_are_far_apart() -> None:
    assert palette(0).shape == (0, 3)
    np.testing.assert_array_equal(palette(5), palette(40)[:5])
    lab = cv2.cvtColor((palette(8)[None] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distances[~np.eye(8, dtype=bool)].min() > 20  # 2.3 is a just noticeable difference
    assert len(np.unique(palette(100), axis=0)) == 100


def test_no_mask_and_no_prompt_gives_an_equal_copy() -> None:
    image = gray(20, 30)
    result = overlay(image)
    np.testing.assert_array_equal(result, image)
    assert result is not image


def test_fill_blends_with_the_photo_inside_and_leaves_the_outside_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    mask = square(100, 120, np.s_[20:80], np.s_[30:90])
    before = image.copy()
    result = overlay(image, [mask], alpha=0.5)
    np.testing.assert_array_equal(image, before)
    expected = np.rint(0.5 * image[25:75, 35:85] + 0.5 * palette(1)[0]).astype(np.uint8)
    np.testing.assert_array_equal(result[25:75, 35:85], expected)
    np.testing.assert_array_equal(result[:15], image[:15])
    np.testing.assert_array_equal(result[:, 95:], image[:, 95:])


def test_outline_has_the_full_color_of_the_mask() -> None:
    result = overlay(gray(200, 200), [square(200, 200, np.s_[50:150], np.s_[50:150])])
    np.testing.assert_allclose(result[100, 50].astype(int), palette(1)[0], atol=40)
    assert np.abs(result[100, 50].astype(int) - result[100, 100]).sum() > 60


def test_the_smaller_mask_lies_on_top_whatever_the_order_and_keeps_its_own_color() -> None:
    large = square(100, 100, np.s_[10:90], np.s_[10:90])
    small = square(100, 100, np.s_[40:60], np.s_[40:60])
    for masks, index in (([large, small], 1), ([small, large], 0)):
        result = overlay(gray(100, 100), masks, alpha=1.0)
        np.testing.assert_array_equal(result[50, 50], palette(2)[index])
        np.testing.assert_array_equal(result[20, 50], palette(2)[1 - index])


def test_an_empty_mask_paints_nothing() -> None:
    image = gray(9, 9)
    np.testing.assert_array_equal(overlay(image, np.zeros((2, 9, 9), bool)), image)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2, 3)])
def test_one_pixel_sides(shape: tuple[int, int]) -> None:
    result = overlay(
        gray(*shape), np.ones((1, *shape), bool), point_coords=[(0, 0)], point_labels=[1], boxes=[(0, 0, 5, 5)]
    )
    assert result.shape == (*shape, 3)
    assert (result != 128).any()


def test_a_speckle_of_one_pixel_is_visible() -> None:
    result = overlay(gray(50, 50), [square(50, 50, np.s_[25:26], np.s_[25:26])])
    assert (result[25, 25] != 128).any()


def test_points_are_green_or_red_dots_that_grow_with_the_photo() -> None:
    extents = []
    for side in (400, 4000):
        at = side // 4
        result = overlay(gray(side, side), point_coords=[(at, at), (3 * at, at)], point_labels=[1, 0])
        off = 3 if side == 400 else 17  # between the arms of the plus
        np.testing.assert_array_equal(result[at - off, at + off], FOREGROUND_COLOR)
        np.testing.assert_array_equal(result[at - off, 3 * at + off], BACKGROUND_COLOR)
        extents.append(np.count_nonzero((result[:, : 2 * at] != 128).any(axis=(0, 2))))
    assert 4 < extents[1] / extents[0] < 7


def test_prompts_outside_the_photo_are_clipped_or_left_out() -> None:
    image = gray(60, 80)
    np.testing.assert_array_equal(overlay(image, point_coords=[(1e9, -5)], point_labels=[1]), image)
    result = overlay(image, boxes=[(-1e9, 20, 1e9, 1e9)])
    assert (result[20, 40] > 200).all()
    assert (result[40, 0] > 200).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, "image must be (H, W, 3) uint8 RGB, got (4, 4) uint8;"),
        ({"image": np.zeros((4, 4, 3))}, "image must be (H, W, 3) uint8 RGB, got (4, 4, 3) float64;"),
        ({"image": None}, "image must be (H, W, 3) uint8 RGB, got NoneType;"),
        ({"masks": [np.zeros((4, 5), bool)]}, "each mask must be (4, 4) bool, like the image, got (4, 5) bool;"),
        ({"masks": [np.zeros((4, 4))]}, "each mask must be (4, 4) bool, like the image, got (4, 4) float64;"),
        ({"point_coords": [(1, 2)]}, "point_labels must have one label for each point (1), got 0;"),
        ({"point_coords": [(1, 2, 3)]}, "point_coords must be (N, 2) numbers, got (1, 3);"),
        ({"boxes": [(1, 2, 3, np.nan)]}, "boxes must be (N, 4) numbers, got NaN;"),
        ({"alpha": 45}, "alpha must be from 0 to 1, got 45;"),
    ],
)
def test_bad_input_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        overlay(**{"image": gray(4, 4), **arguments})  # type: ignore[arg-type]
    assert message in str(caught.value)
