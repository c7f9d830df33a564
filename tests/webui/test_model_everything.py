"""The order of everything mode in JavaScript, against Python's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mobilesam.automatic.exploration import Expectation, Exploration, appearance_of, farthest_first, inside_finest
from mobilesam.automatic.grids import build_point_grid
from tests.webui.model_script import run
from tests.webui.test_model_masks import logits_of

POINTS = build_point_grid(9) * (451, 300)


def test_the_farthest_point_comes_first(tmp_path: Path) -> None:
    grids = [POINTS, build_point_grid(1), build_point_grid(16) * (640, 427), np.random.default_rng(0).random((70, 2))]
    code = """
    import { farthestFirst } from "./static/model/exploration.js";
    const result = given.grids.map(farthestFirst);
    """
    result = run(tmp_path, code, grids=[grid.tolist() for grid in grids])
    assert result == [farthest_first(grid).tolist() for grid in grids]


def test_a_run_learns_where_new_masks_are_expected(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(0, 1, (len(POINTS), 16)).astype(np.float32)
    inside = (random.random((60, len(POINTS))) < 0.3).astype(np.uint8)
    rates = -random.random((4, len(POINTS))).astype(np.float32) * 3
    decays = np.array([0.5, 1, 2, 4], np.float32)
    least = -0.4
    orders = []
    for expectation in (None, Expectation(rates, decays, least)):
        exploration = Exploration(POINTS, appearance_of(vectors), 40, expectation)
        order: list[int] = []
        while len(taken := exploration.take(2)):
            for index in taken.tolist():
                exploration.learn(index, inside[len(order)].astype(np.bool_))
                order.append(index)
        orders.append(order)
    code = """
    import { appearanceOf, Exploration } from "./static/model/exploration.js";
    const logRates = given.rates.map((rates) => Float32Array.from(rates));
    const result = [null, { logRates, decays: [0.5, 1, 2, 4], logLeast: given.least }].map((expectation) => {
      const appearance = appearanceOf(given.vectors.map((vector) => Float32Array.from(vector)));
      const exploration = new Exploration(given.points, appearance, 40, expectation);
      const order = [];
      for (let taken = exploration.take(2); taken.length; taken = exploration.take(2)) {
        for (const index of taken) {
          exploration.learn(index, Uint8Array.from(given.inside[order.length]));
          order.push(index);
        }
      }
      return order;
    });
    """
    lists = {"vectors": vectors.tolist(), "inside": inside.tolist(), "rates": rates.tolist(), "points": POINTS.tolist()}
    assert run(tmp_path, code, **lists, least=least) == orders
    assert len(orders[0]) == 40
    assert 2 < len(orders[1]) < 40


def test_an_exact_run_takes_every_point_once(tmp_path: Path) -> None:
    code = """
    import { Exploration } from "./static/model/exploration.js";
    const exploration = new Exploration(given.points, null, given.points.length);
    const result = [];
    for (let taken = exploration.take(2); taken.length; taken = exploration.take(2)) result.push(...taken);
    """
    result = run(tmp_path, code, points=POINTS.tolist())
    assert sorted(result) == list(range(len(POINTS)))
    first = POINTS[result[: len(POINTS) // 4]]
    assert (first.std(axis=0) > 0.7 * POINTS.std(axis=0)).all(), "a run that is cut short has covered the whole image"


def test_points_inside_of_the_finest_mask(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    cells = random.integers(0, 256, (50, 2))
    cases = [logits_of(random, 3) + random.normal(0, 3, (3, 1, 1)).astype(np.float32) for _ in range(6)]
    code = """
    import { insideFinest } from "./static/model/exploration.js";
    const result = given.cases.map((logits) => [0, 1, 2].map((prompt) => insideFinest(
      [0, 1, 2].map((mask) => logits.subarray(65536 * mask, 65536 * (mask + 1))),
      given.cells[prompt], given.cells, 0, 1,
    )));
    """
    result = run(tmp_path, code, cases=cases, cells=(cells[:, 1] * 256 + cells[:, 0]).tolist())
    expected = [
        [inside_finest(case, cells[prompt], cells, 0, 1).astype(int).tolist() for prompt in range(3)] for case in cases
    ]
    assert result == expected
    assert np.any(result)
