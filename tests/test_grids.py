"""Grids of points and crops."""

from __future__ import annotations

import numpy as np
import pytest

from mobilesam.automatic.grids import build_all_layer_point_grids, build_point_grid, generate_crop_boxes


def test_a_grid_has_a_point_in_the_middle_of_each_cell():
    np.testing.assert_allclose(
        build_point_grid(2), [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]], rtol=0, atol=1e-15
    )
    np.testing.assert_array_equal(build_point_grid(1), [[0.5, 0.5]])


def test_layers_have_fewer_points():
    assert [len(grid) for grid in build_all_layer_point_grids(12, 2, 2)] == [144, 36, 9]


def test_crops_of_a_photo():
    boxes, layers = generate_crop_boxes((400, 600), 1, 512 / 1500)
    # 136 pixels of overlap; the first crop is that of the reference's recorded run.
    assert boxes == [[0, 0, 600, 400], [0, 0, 368, 268], [0, 132, 368, 400], [232, 0, 600, 268], [232, 132, 600, 400]]
    assert layers == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (300, 1), (3, 5)])
def test_no_crop_is_empty(hw):
    boxes, layers = generate_crop_boxes(hw, 3, 512 / 1500)
    assert len(boxes) == len(layers)
    for x1, y1, x2, y2 in boxes:
        assert 0 <= x1 < x2 <= hw[1]
        assert 0 <= y1 < y2 <= hw[0]
