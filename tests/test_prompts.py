"""What a caller points at: the one form it gets, and the sentence for what cannot be used."""

from __future__ import annotations

import linecache
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mobilesam.errors import InputError, OutOfImageWarning
from mobilesam.prompts.arrays import Prompts, make_prompts

ORIGINAL_HW, INPUT_HW = (400, 600), (683, 1024)
LOGITS = np.zeros((1, 256, 256), dtype=np.float32)


def make(**arguments: Any) -> tuple[Prompts, bool]:
    return make_prompts(**arguments, original_hw=ORIGINAL_HW, input_hw=INPUT_HW)


def moved(*points: tuple[float, float]) -> Any:
    """Points of the original image in the model frame, as the reference computes them."""
    return (np.array(points) * [1024 / 600, 683 / 400]).astype(np.float32)


# The order of the points is the reference's: points, then padding if there is no box, then the corners of the box.


def test_points_end_with_a_padding_point() -> None:
    prompts, batched = make(point_coords=[[10, 20], [30, 40]], point_labels=[1, 0])
    assert not batched
    np.testing.assert_array_equal(prompts.point_coords, [[*moved((10, 20), (30, 40)), (0, 0)]])
    np.testing.assert_array_equal(prompts.point_labels, [[1, 0, -1]])
    assert prompts.mask_input is None
    assert prompts.point_coords.dtype == prompts.point_labels.dtype == np.float32


@pytest.mark.parametrize("box", [[10, 20, 30, 40], [[10, 20, 30, 40]]])
def test_a_box_is_two_corners_without_padding(box: Any) -> None:
    prompts, batched = make(box=box)
    assert not batched
    np.testing.assert_array_equal(prompts.point_coords, [moved((10, 20), (30, 40))])
    np.testing.assert_array_equal(prompts.point_labels, [[2, 3]])


@pytest.mark.parametrize("box", [[10, 20, 30, 40], [[10, 20, 30, 40]]])
def test_the_corners_come_after_the_points(box: Any) -> None:
    prompts, batched = make(point_coords=[[1, 2], [3, 4]], point_labels=[0, 1], box=box)
    assert not batched
    np.testing.assert_array_equal(prompts.point_coords, [moved((1, 2), (3, 4), (10, 20), (30, 40))])
    np.testing.assert_array_equal(prompts.point_labels, [[0, 1, 2, 3]])


def test_several_boxes_are_a_batch() -> None:
    prompts, batched = make(box=[[10, 20, 30, 40], [1, 2, 3, 4], [5, 6, 70, 80]])
    assert batched
    assert len(prompts) == 3
    np.testing.assert_array_equal(prompts.point_coords[2], moved((5, 6), (70, 80)))
    np.testing.assert_array_equal(prompts.point_labels, [[2, 3]] * 3)


def test_batched_points_are_a_batch_even_of_one() -> None:
    prompts, batched = make(point_coords=[[[10, 20]]], point_labels=[[1]])
    assert batched
    np.testing.assert_array_equal(prompts.point_coords, [[*moved((10, 20)), (0, 0)]])
    prompts, batched = make(point_coords=[[[10, 20]], [[30, 40]]], point_labels=[[1], [0]])
    assert batched
    np.testing.assert_array_equal(prompts.point_coords[1], [*moved((30, 40)), (0, 0)])
    np.testing.assert_array_equal(prompts.point_labels, [[1, -1], [0, -1]])


def test_batched_points_with_a_box_each() -> None:
    boxes = [[10, 20, 30, 40], [50, 60, 70, 80]]
    prompts, batched = make(point_coords=[[[11, 21]], [[51, 61]]], point_labels=[[1], [0]], box=boxes)
    assert batched
    np.testing.assert_array_equal(prompts.point_coords[1], moved((51, 61), (50, 60), (70, 80)))
    np.testing.assert_array_equal(prompts.point_labels, [[1, 2, 3], [0, 2, 3]])


def test_a_batch_equals_its_prompts_one_by_one() -> None:
    coords, labels = [[[10, 20], [30, 40]], [[50, 60], [0, 0]]], [[1, 0], [1, -1]]
    together, _ = make(point_coords=coords, point_labels=labels)
    for index in range(2):
        alone, _ = make(point_coords=coords[index], point_labels=labels[index])
        np.testing.assert_array_equal(together[index : index + 1].point_coords, alone.point_coords)
        np.testing.assert_array_equal(together[index : index + 1].point_labels, alone.point_labels)


def test_an_earlier_mask_alone_has_no_points() -> None:
    prompts, batched = make(mask_input=LOGITS)
    assert not batched
    assert prompts.point_coords.shape == (1, 0, 2)
    assert prompts.point_labels.shape == (1, 0)
    assert prompts.mask_input is not None
    assert prompts.mask_input.shape == (1, 1, 256, 256)


@pytest.mark.parametrize("shape", [(2, 1, 256, 256), (2, 256, 256)])
@pytest.mark.parametrize(
    "others", [{}, {"box": [[1, 2, 3, 4]] * 2}, {"point_coords": [[[1, 2]]] * 2, "point_labels": [[1]] * 2}]
)
def test_masks_of_a_batch(shape: tuple[int, ...], others: dict[str, Any]) -> None:
    masks = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    prompts, batched = make(mask_input=masks, **others)
    assert batched
    assert prompts.mask_input is not None
    assert prompts.mask_input.dtype == np.float32
    np.testing.assert_array_equal(prompts.mask_input, masks.reshape(2, 1, 256, 256).astype(np.float32))
    np.testing.assert_array_equal(prompts[1:].mask_input, prompts.mask_input[1:])


@pytest.mark.parametrize(
    "convert",
    [list, tuple, np.array, lambda rows: np.array(rows, dtype=np.uint8), lambda rows: np.array(rows, dtype=">f4")],
)
def test_whatever_numpy_takes(convert: Any) -> None:
    prompts, _ = make(point_coords=convert([[10, 20]]), point_labels=convert([True]), box=convert([1, 2, 30, 40]))
    expected, _ = make(point_coords=[[10.0, 20.0]], point_labels=[1], box=[1.0, 2.0, 30.0, 40.0])
    np.testing.assert_array_equal(prompts.point_coords, expected.point_coords)
    np.testing.assert_array_equal(prompts.point_labels, expected.point_labels)


def test_the_arguments_are_not_changed() -> None:
    points, labels = np.array([[10.0, 20.0]]), np.array([1.0])
    make(point_coords=points, point_labels=labels)
    np.testing.assert_array_equal(points, [[10, 20]])
    np.testing.assert_array_equal(labels, [1])


# Outside the image


def test_boxes_partly_outside_pass_unclipped_without_a_word() -> None:
    prompts, _ = make(box=[-50, -10, 900, 400])
    np.testing.assert_array_equal(prompts.point_coords, [moved((-50, -10), (900, 400))])


def test_points_inside_give_no_warning() -> None:
    make(point_coords=[[0, 0], [599.9, 399.9], [700, 700]], point_labels=[1, 1, -1])


@pytest.mark.parametrize("point", [[-1, 5], [5, -1], [600, 5], [5, 400]])
def test_a_point_outside_gives_one_warning_and_passes(point: list[float]) -> None:
    with pytest.warns(OutOfImageWarning) as caught:
        prompts, _ = make(point_coords=[point], point_labels=[1])
    assert len(caught) == 1
    x, y = point
    assert str(caught[0].message) == (
        f"point [{x}, {y}] lies outside the image, 600 wide and 400 high; x comes before y"
    )
    np.testing.assert_array_equal(prompts.point_coords[0, :1], moved((x, y)))


def test_many_prompts_outside_give_one_warning() -> None:
    with pytest.warns(OutOfImageWarning) as caught:
        make(box=[[1, 2, 3, 4], [600, 0, 700, 50], [-9, -9, 0, 5], [0, 400, 5, 500]])
    assert [str(one.message) for one in caught] == [
        "box [600, 0, 700, 50] lies outside the image, 600 wide and 400 high (and so do 2 more); x comes before y"
    ]


def test_the_warning_names_the_line_that_calls_predict() -> None:
    def shared_by_both_predicts() -> None:
        make_prompts([[-1, -1]], [1], original_hw=ORIGINAL_HW, input_hw=INPUT_HW)

    def predict() -> None:
        shared_by_both_predicts()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predict()
    assert caught[0].filename == __file__
    assert linecache.getline(__file__, caught[0].lineno).strip() == "predict()"


# What is refused

POINT = {"point_coords": [[10, 20]], "point_labels": [1]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a prompt must have at least one of point_coords, box and mask_input, got none; pass one of them"),
        (
            {"point_coords": [[1, 2]]},
            "point_coords must come with point_labels, got no labels; "
            "pass 1 for each foreground point and 0 for each background point",
        ),
        ({"point_labels": [1]}, "point_labels must come with point_coords, got no points; pass both, or neither"),
        (
            {"point_coords": [[1, 2]], "point_labels": [1, 1]},
            "point_labels must have shape (1,), one label for each point, got (2,); pass one label for each point",
        ),
        (
            {"point_coords": [[[1, 2]], [[3, 4]]], "point_labels": [1, 1]},
            "point_labels must have shape (2, 1), one label for each point, got (2,)",
        ),
        (
            {"point_coords": [[1, 2]], "point_labels": [2]},
            "point_labels must be 1, 0 or -1, got 2; "
            "use 1 for foreground, 0 for background, -1 for padding; corners of a box go in box",
        ),
        ({"point_coords": [[1, 2]], "point_labels": [0.5]}, "point_labels must be 1, 0 or -1, got 0.5"),
        ({"point_coords": [1, 2], "point_labels": [1]}, "got (2,); pass [[x, y]] for one point"),
        (
            {"point_coords": [[1, 2, 3]], "point_labels": [1]},
            "point_coords must have shape (N, 2) or (B, N, 2), got (1, 3); pass one x, y pair for each point",
        ),
        ({"point_coords": [[[[1, 2]]]], "point_labels": [1]}, "got (1, 1, 1, 2)"),
        (
            {"point_coords": [], "point_labels": []},
            "point_coords must not be empty, got shape (0,); pass None instead",
        ),
        ({"point_coords": np.zeros((0, 2)), "point_labels": []}, "point_coords must not be empty, got shape (0, 2)"),
        (
            {"point_coords": [[1, np.nan]], "point_labels": [1]},
            "point_coords must be finite, got nan among 2 values; remove it, or give a padding point the label -1",
        ),
        ({"point_coords": [[np.nan, 0]], "point_labels": [-1]}, "point_coords must be finite, got nan"),
        ({"point_coords": [[1, -np.inf]], "point_labels": [1]}, "point_coords must be finite, got -inf"),
        ({"point_coords": [[1, 1e39]], "point_labels": [1]}, "point_coords must be finite, got 1e+39"),
        ({"point_coords": [[1, 2]], "point_labels": [np.nan]}, "point_labels must be finite, got nan"),
        (
            {"point_coords": [["a", 2]], "point_labels": [1]},
            "point_coords must be an array of numbers, got list of dtype <U21; pass lists or arrays of int or float",
        ),
        (
            {"point_coords": [[1, None]], "point_labels": [1]},
            "point_coords must be an array of numbers, got list of dtype",
        ),
        ({"point_coords": [[1, 2], [3]], "point_labels": [1]}, "point_coords must be an array of numbers, got list ("),
        ({"box": [1, 2, 3]}, "box must have shape (4,) or (B, 4), got (3,); pass [x1, y1, x2, y2]"),
        ({"box": [[[1, 2, 3, 4]]]}, "box must have shape (4,) or (B, 4), got (1, 1, 4)"),
        ({"box": [[1, 2], [3, 4]]}, "box must have shape (4,) or (B, 4), got (2, 2)"),
        ({"box": np.zeros((0, 4))}, "box must not be empty, got shape (0, 4); pass None instead"),
        ({"box": [1, 2, 3, np.nan]}, "box must be finite, got nan among 4 values"),
        (
            {"box": [30, 40, 10.5, 20]},
            "box must have x1 < x2 and y1 < y2, got [30, 40, 10.5, 20]; "
            "its corners are reversed: pass [10.5, 20, 30, 40]",
        ),
        ({"box": [30, 4, 10, 20]}, "its corners are reversed: pass [10, 4, 30, 20]"),
        (
            {"box": [10, 20, 10, 40]},
            "box must have x1 < x2 and y1 < y2, got [10, 20, 10, 40]; "
            "it has no area: enlarge it, or use point_coords for a point",
        ),
        ({"box": [[1, 2, 3, 4], [9, 2, 3, 4]]}, "box 1 must have x1 < x2 and y1 < y2, got [9, 2, 3, 4]"),
        (
            {**POINT, "box": [[1, 2, 3, 4], [5, 6, 7, 8]]},
            "box must be one box with point_coords of shape (N, 2), got shape (2, 4); pass the points as (2, N, 2)",
        ),
        (
            {"point_coords": [[[1, 2]]] * 3, "point_labels": [[1]] * 3, "box": [[1, 2, 3, 4]] * 2},
            "box must have one row for each of the 3 prompts of point_coords, got shape (2, 4); "
            "pass one box for each prompt",
        ),
        (
            {**POINT, "mask_input": LOGITS[0]},
            "mask_input must have shape (1, 256, 256), got (256, 256); pass mask_input[None]",
        ),
        ({"mask_input": LOGITS[0]}, "mask_input must have shape (1, 256, 256), got (256, 256); pass mask_input[None]"),
        (
            {**POINT, "mask_input": np.zeros((3, 256, 256))},
            "mask_input must have shape (1, 256, 256), got (3, 256, 256); "
            "pass one of the masks: mask_input[best][None]",
        ),
        (
            {**POINT, "mask_input": np.zeros((1, 400, 600))},
            "mask_input must have shape (1, 256, 256), got (1, 400, 600); "
            "pass the low_res_logits that predict returned, one mask for each prompt",
        ),
        (
            {"box": [[1, 2, 3, 4]] * 2, "mask_input": LOGITS},
            "mask_input must have shape (2, 1, 256, 256) or (2, 256, 256), got (1, 256, 256)",
        ),
        ({**POINT, "mask_input": LOGITS * np.nan}, "mask_input must be finite, got nan among 65536 values"),
        ({**POINT, "mask_input": "mask.png"}, "mask_input must be an array of numbers, got str of dtype <U8"),
        ({**POINT, "mask_input": np.zeros((1, 0, 256))}, "mask_input must not be empty, got shape (1, 0, 256)"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make(**arguments)
    assert message in str(caught.value)


def test_nothing_warns_when_the_prompt_is_refused() -> None:
    with pytest.raises(InputError, match="mask_input must have shape"):
        make(point_coords=[[-1, -1]], point_labels=[1], mask_input=LOGITS[0])


numbers = npst.arrays(
    dtype=st.sampled_from([np.float64, np.float32, np.int64, np.bool_]), shape=npst.array_shapes(max_dims=4, max_side=4)
)


@settings(deadline=None)
@given(st.none() | numbers, st.none() | numbers, st.none() | numbers, st.none() | numbers)
def test_any_arrays_give_prompts_or_a_sentence(points: Any, labels: Any, box: Any, mask_input: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfImageWarning)
        try:
            prompts, _ = make(point_coords=points, point_labels=labels, box=box, mask_input=mask_input)
        except InputError:
            return
    assert prompts.point_coords.shape == (*prompts.point_labels.shape, 2)
    assert np.isfinite(prompts.point_coords).all()
    assert np.isin(prompts.point_labels, (-1, 0, 1, 2, 3)).all()


coordinates = st.floats(-1000, 2000, width=32)


@settings(deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates, st.sampled_from([0, 1])), min_size=1, max_size=9), st.booleans())
def test_every_valid_prompt_is_taken(points: list[tuple[float, float, int]], with_box: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfImageWarning)
        prompts, batched = make(
            point_coords=[point[:2] for point in points],
            point_labels=[point[2] for point in points],
            box=[1, 2, 30, 40] if with_box else None,
        )
    assert not batched
    assert prompts.point_coords.shape == (1, len(points) + (2 if with_box else 1), 2)
    np.testing.assert_array_equal(prompts.point_coords[0, : len(points)], moved(*(point[:2] for point in points)))
    assert prompts.point_labels[0, len(points) :].tolist() == ([2, 3] if with_box else [-1])
