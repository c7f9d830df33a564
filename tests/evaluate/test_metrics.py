import numpy as np
import pytest

from mobilesam.evaluate.metrics import boundary_iou, calibration, calibration_error, iou, number_of_clicks, size_class
from tests.evaluate.scenes import disc

HW = (120, 160)
EMPTY = np.zeros(HW, bool)


def slow_boundary_iou(first: np.ndarray, second: np.ndarray, ratio: float) -> float:
    """Cheng et al.: the pixels of each mask within so many steps (3 x 3) of its outside, compared."""
    steps = max(1, round(ratio * np.hypot(*first.shape)))

    def border(mask: np.ndarray) -> np.ndarray:
        inner = np.pad(mask, 1)
        for _ in range(steps):
            shifted = [np.roll(inner, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            inner = np.pad(np.logical_and.reduce(shifted)[1:-1, 1:-1], 1)
        return mask & ~inner[1:-1, 1:-1]

    one, two = border(first), border(second)
    return (one & two).sum() / (one | two).sum()


def test_iou() -> None:
    left, right = EMPTY.copy(), EMPTY.copy()
    left[:10, :20], right[:10, 10:30] = True, True
    assert iou(left, right) == pytest.approx(1 / 3)
    assert iou(left, left) == 1
    assert iou(left, EMPTY) == 0
    assert iou(EMPTY, EMPTY) == 1


@pytest.mark.parametrize("ratio", [0.001, 0.02, 0.1])
def test_boundary_iou_is_that_of_the_definition(ratio: float) -> None:
    masks = [disc(HW, (60, 60), 40), disc(HW, (64, 58), 38), disc(HW, (5, 5), 30), disc(HW, (150, 100), 3)]
    for first in masks:
        for second in masks:
            assert boundary_iou(first, second, ratio) == pytest.approx(slow_boundary_iou(first, second, ratio))


def test_boundary_iou_punishes_a_wrong_edge_harder_and_bears_empty_masks() -> None:
    large, larger = disc(HW, (80, 60), 50), disc(HW, (80, 60), 54)
    assert boundary_iou(large, larger) < 0.35 < 0.85 < iou(large, larger)
    assert boundary_iou(EMPTY, EMPTY) == 1
    assert boundary_iou(EMPTY, large) == 0


def test_sizes_have_the_limits_of_coco() -> None:
    assert [size_class(area) for area in (1, 1023, 1024, 9215, 9216)] == ["small", "small", "medium", "medium", "large"]


def test_number_of_clicks() -> None:
    assert number_of_clicks([0.5, 0.86, 0.8, 0.91], 0.85, 10) == 2
    assert number_of_clicks([0.5, 0.86, 0.8, 0.90], 0.90, 10) == 4
    assert number_of_clicks([0.5, 0.6], 0.90, 10) == 10


def test_calibration_bins_and_error() -> None:
    bins = calibration([0.95, 0.91, 0.31, 1.2], [0.5, 0.7, 0.3, 0.9])
    assert [(entry.low, entry.high, entry.instances) for entry in bins] == [(0.3, 0.4, 1), (0.9, 1.0, 3)]
    assert bins[1].mean_predicted == pytest.approx((0.95 + 0.91 + 1) / 3)
    assert bins[1].mean_true == pytest.approx(0.7)
    gap = (0.95 + 0.91 + 1) / 3 - 0.7
    assert calibration_error(bins) == pytest.approx((3 * gap + 0.01) / 4)
    assert calibration([], []) == []
    assert calibration_error([]) == 0
