"""Everything mode has a limit of points, plans them quickly, and stops in time."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest

from mobilesam.automatic import SamAutomaticMaskGenerator
from mobilesam.automatic.exploration import Exploration, farthest_first
from mobilesam.automatic.grids import build_point_grid
from mobilesam.errors import InputError
from tests.automatic.color_model import ColorModel

IMAGE = np.zeros((60, 90, 3), np.uint8)


def plain_farthest_first(points: np.ndarray) -> list[int]:
    """Return the order by its definition: every distance again for each point."""
    index = int(((points - (points.min(axis=0) + points.max(axis=0)) / 2) ** 2).sum(axis=1).argmin())
    distance, order = np.full(len(points), np.inf), []
    for _ in points:
        order.append(index)
        distance = np.minimum(distance, ((points - points[index]) ** 2).sum(axis=1))
        distance[index] = -1
        index = int(distance.argmax())
    return order


RANDOM = np.random.default_rng(0)
POINTS = {
    "the default grid": build_point_grid(32) * (640, 427),
    "an uneven grid": build_point_grid(37) * (4000, 90),
    "one point": np.array([[3.0, 4.0]]),
    "two points": np.array([[3.0, 4.0], [5.0, 4.0]]),
    "scattered": RANDOM.random((1500, 2)) * (900, 700),
    "on whole pixels, many twice": RANDOM.integers(0, 15, (1200, 2)).astype(float),
    "all in one place": np.zeros((300, 2)),
    "on a line": RANDOM.random((600, 2)) * (1, 0),
    "in two clusters": np.concatenate([RANDOM.random((500, 2)) * 1e-3, RANDOM.random((400, 2)) + 99]),
}


@pytest.mark.parametrize("name", POINTS)
def test_the_order_of_points_is_the_definitions(name: str) -> None:
    assert farthest_first(POINTS[name]).tolist() == plain_farthest_first(POINTS[name])


def test_the_finest_grid_is_planned_without_looking_at_all_pairs_of_points() -> None:
    points = build_point_grid(256) * (4000, 3000)
    looked_at = 0

    class Counted(np.ndarray):
        def __getitem__(self, key):
            nonlocal looked_at
            part = super().__getitem__(key)
            looked_at += len(part) if isinstance(key, np.ndarray) else 0
            return part

    order = farthest_first(points.view(Counted))
    assert sorted(order.tolist()) == list(range(65536))
    assert looked_at < 100 * 65536  # by the definition 65536 times as many


def test_points_are_taken_in_the_order_of_a_stable_sort() -> None:
    plan = Exploration(build_point_grid(16), np.ones((256, 2), np.float32), 200)
    plan._log_expected = -np.random.default_rng(0).integers(0, 9, (1, 256)).astype(np.float32)
    expected = np.argsort(-plan._log_expected[0], kind="stable")[:200].tolist()
    taken = []
    while len(part := plan.take(7)):
        taken += part.tolist()
    assert taken == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points_per_side": 257}, "points_per_side must be a whole number from 1 to 256, got 257"),
        ({"points_per_side": 20_000}, "points_per_side must be a whole number from 1 to 256, got 20000"),
        ({"points_per_side": 10**400}, "points_per_side must be a whole number from 1 to 256, got 1000"),
        (
            {"points_per_side": None, "point_grids": [np.zeros((65_537, 2))]},
            "each of point_grids must have at most 65,536",
        ),
        ({"crop_n_layers": 9}, "crop_n_layers must be a whole number from 0 to 8, got 9"),
        ({"crop_n_layers": 7, "points_per_side": 64}, "the number of points must be at most 10,000,000 in all crops"),
    ],
)
def test_grids_have_a_limit(options: dict, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            SamAutomaticMaskGenerator(ColorModel(), **options)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(message)


def test_tiles_have_a_limit() -> None:
    image = np.zeros((3000, 4000, 3), np.uint8)
    options = {"points_per_side": 256, "tile_size": 128}
    with pytest.raises(InputError, match="the number of points must be at most 10,000,000 in all crops or tiles"):
        SamAutomaticMaskGenerator(ColorModel(), **options).generate(image)
    with pytest.raises(
        InputError, match=r"tiles must be at most 100,000, got 3\d\d,\d\d\d of 64 pixels for an image of 4000"
    ):
        SamAutomaticMaskGenerator(ColorModel(), tile_size=64, tile_overlap=0.9).generate(image)


def test_a_grid_that_is_too_fine_is_wrong_usage(command, tmp_path) -> None:
    outcome = command("everything", "x.png", "--points-per-side", "20000", "--out", tmp_path)
    assert outcome.code == 2
    assert "Invalid value for '--points-per-side'" in outcome.err
    assert "256" in outcome.err


@pytest.mark.parametrize("mode", ["exact", "balanced"])
@pytest.mark.parametrize("options", [{}, {"crop_n_layers": 1}, {"tile_size": 64}])
def test_a_run_stopped_while_a_crop_is_encoded_decodes_nothing_more(mode: str, options: dict) -> None:
    stop = threading.Event()

    class Slow(ColorModel):
        def encode(self, image, **keywords):
            stop.set()  # as when the time is up
            return super().encode(image, **keywords)

        def dump_features(self, features):
            raise AssertionError("planned")

    model = Slow()
    records = SamAutomaticMaskGenerator(model, points_per_side=16, mode=mode, **options).generate(IMAGE, cancel=stop)
    assert (records.partial, model.encoded, model.points) == (True, 1, [])


def test_no_time_encodes_nothing() -> None:
    model = ColorModel()
    assert SamAutomaticMaskGenerator(model).generate(IMAGE, time_budget_s=0).partial
    assert model.encoded == 0
