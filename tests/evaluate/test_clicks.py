import numpy as np

from mobilesam.evaluate.clicks import Click, center_click, next_click
from tests.evaluate.scenes import disc

HW = (50, 70)
EMPTY = np.zeros(HW, bool)


def slow_depth(region: np.ndarray) -> np.ndarray:
    """Distance of every pixel to the nearest pixel outside, the frame's outside included, by trying all."""
    padded = np.pad(region, 1)
    outside = np.argwhere(~padded)
    depth = np.zeros(padded.shape)
    for row, column in np.argwhere(padded):
        depth[row, column] = np.sqrt(((outside - (row, column)) ** 2).sum(axis=1).min())
    return depth[1:-1, 1:-1]


def test_the_first_click_is_the_centre_of_a_disc() -> None:
    assert center_click(disc(HW, (40, 20), 12)) == Click(40, 20, True)


def test_the_deepest_pixel_is_the_one_found_by_trying_all() -> None:
    random = np.random.default_rng(1)
    for _ in range(8):
        mask = EMPTY.copy()
        for _ in range(3):
            mask |= disc(HW, (int(random.integers(70)), int(random.integers(50))), int(random.integers(3, 14)))
        click, depth = center_click(mask), slow_depth(mask)
        assert mask[click.y, click.x]
        assert abs(depth[click.y, click.x] - depth.max()) < 1e-3


def test_the_frame_bounds_an_object() -> None:
    mask = EMPTY.copy()
    mask[:, :21] = True
    assert center_click(mask).x == 10


def test_the_next_click_goes_to_the_larger_error() -> None:
    truth = disc(HW, (20, 25), 12)
    assert next_click(truth & ~disc(HW, (22, 25), 4), truth) == Click(22, 25, True)
    extra = disc(HW, (55, 25), 9)
    assert next_click((truth | extra) & ~disc(HW, (22, 25), 4), truth) == Click(55, 25, False)
    assert next_click(truth, truth) is None


def test_a_pixel_is_not_clicked_twice() -> None:
    truth = disc(HW, (20, 25), 12)
    first = next_click(EMPTY, truth)
    second = next_click(EMPTY, truth, [first])
    assert first == Click(20, 25, True)
    assert second is not None
    assert (second.x, second.y) != (20, 25)
    assert np.hypot(second.x - 20, second.y - 25) < 2
    single = disc(HW, (5, 5), 0)
    assert next_click(EMPTY, single, [Click(5, 5, True)]) is None
