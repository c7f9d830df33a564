"""The order in which everything mode decodes points."""

from __future__ import annotations

import numpy as np

from mobilesam.automatic.exploration import (
    Expectation,
    Exploration,
    appearance_of,
    farthest_first,
    inside_finest,
    vectors_at,
)
from mobilesam.automatic.grids import build_point_grid

ALIKE = np.tile(np.array([[1, 0]], np.float32), (64, 1))


def take_all(plan, size=2):
    taken = []
    while len(part := plan.take(size)):
        assert len(part) <= size
        taken += part.tolist()
    return taken


def test_without_appearance_every_point_is_taken_once_in_random_order():
    taken = take_all(Exploration(build_point_grid(9), None, 81), 4)
    assert taken == np.random.default_rng(0).permutation(81).tolist()


def test_a_limit_is_kept_and_no_point_is_taken_twice():
    taken = take_all(Exploration(build_point_grid(8), ALIKE, 21))
    assert len(taken) == len(set(taken)) == 21


def test_the_least_known_point_is_next():
    points = build_point_grid(8)
    left = points[:, 0] < 0.5
    plan = Exploration(points, ALIKE, 40)
    first = plan.take(1)
    plan.learn(int(first[0]), left)
    taken = take_all(plan)
    assert set(taken[:31]) <= set(np.flatnonzero(~left).tolist())
    assert not set(taken[32:]) & set(np.flatnonzero(~left).tolist())


def test_a_mask_tells_little_about_points_of_different_appearance():
    points = build_point_grid(8)
    different = points[:, 1] > 0.5
    appearance = np.where(different[:, None], [[0, 1]], [[1, 0]]).astype(np.float32)
    plan = Exploration(points, appearance, 64)
    plan.learn(int(np.flatnonzero(~different)[0]), np.ones(64, bool))
    assert different[take_all(plan)[:32]].all()


def expectation_of(*rates, least=0.0):
    """Return an expectation of two kinds of masks, the second of which becomes fewer four times as fast."""
    with np.errstate(divide="ignore"):
        return Expectation(np.log(np.array(rates, np.float32)), np.array([1, 4], np.float32), float(np.log(least)))


def test_points_of_which_most_masks_are_expected_come_first():
    rates = np.random.default_rng(0).uniform(0.1, 1, (2, 64))
    plan = Exploration(build_point_grid(8), ALIKE, 64, expectation_of(*rates))
    assert take_all(plan) == np.argsort(-rates.sum(axis=0)).tolist()


def test_each_kind_of_mask_becomes_fewer_at_its_own_rate():
    rates = np.full((2, 64), 0.01)
    rates[0, :10], rates[1, 10:30] = 0.5, 0.6
    plan = Exploration(build_point_grid(8), ALIKE, 64, expectation_of(*rates))
    (first,) = plan.take(1)
    assert 10 <= first < 30
    plan.learn(int(first), np.ones(64, bool))
    assert set(take_all(plan)[:10]) == set(range(10))


def test_points_of_which_too_few_masks_are_expected_are_left_out():
    rates = np.full((2, 64), 0.1)
    rates[0, :5] = 0.4
    plan = Exploration(build_point_grid(8), ALIKE, 64, expectation_of(*rates, least=0.3))
    assert sorted(take_all(plan)) == list(range(5))
    assert plan.left == 59
    plan = Exploration(build_point_grid(8), ALIKE, 64, expectation_of(*rates, least=0.14))
    taken = plan.take(2).tolist()
    plan.learn(taken[0], np.ones(64, bool))
    assert set(taken + take_all(plan)) == set(range(5)), "a mask has covered the others, of which 0.04 are expected"


def test_appearance_is_relative_to_the_mean():
    features = np.zeros((1, 2, 4, 4), np.float32)
    features[0, 0] = 5
    features[0, 1, :, 2:] = 3
    cells = np.array([[0, 0], [3, 0], [0, 3], [2, 2]])
    appearance = appearance_of(vectors_at(features, cells))
    np.testing.assert_allclose(appearance, [[0, -1], [0, 1], [0, -1], [0, 1]], atol=1e-6)
    assert not appearance_of(np.ones((4, 2), np.float32)).any()


def test_the_farthest_point_comes_first():
    points = build_point_grid(8)
    order = farthest_first(points)
    assert sorted(order.tolist()) == list(range(64))
    for place in range(1, 64):
        before, rest = points[order[:place]], points[order[place:]]
        distance = np.linalg.norm(rest[:, None] - before[None], axis=2).min(axis=1)
        assert distance[0] >= distance.max() - 1e-9


def test_the_finest_mask_is_the_smallest_stable_one_that_contains_the_point():
    y, x = np.mgrid[:256, :256]

    def square(half, sharp=10.0):
        return (sharp * (half - np.maximum(abs(x - 100), abs(y - 100)))).astype(np.float32)

    large, small, elsewhere = square(80), square(20), np.roll(square(5), 100, axis=1)
    points = np.array([[100, 100], [115, 100], [150, 100], [200, 100]])
    masks = np.stack([large, small, elsewhere])
    assert inside_finest(masks, points[0], points, 0.0, 1.0).tolist() == [True, True, False, False]
    unstable = square(20, sharp=0.1)
    assert inside_finest(np.stack([large, unstable]), points[0], points, 0.0, 1.0).tolist() == [True, True, True, False]
    assert not inside_finest(elsewhere[None], points[0], points, 0.0, 1.0).any()
