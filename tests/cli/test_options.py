"""Reading points, boxes and formats from text."""

import pytest

from mobilesam.cli.options import UsageError, parse_box, parse_formats, parse_point, parse_prompts
from mobilesam.prompts.file import ObjectPrompt


@pytest.mark.parametrize(
    ("text", "point"),
    [("320,240", (320, 240, 1)), ("1.5,-2,0", (1.5, -2, 0)), (" 3 , 4 , 1 ", (3, 4, 1)), ("1e2,0", (100, 0, 1))],
)
def test_a_point_is_two_numbers_and_an_optional_label(text: str, point: tuple[float, float, float]) -> None:
    assert parse_point(text) == point


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "a,b", "1;2", "1,nan", "inf,2", "1,,2"])
def test_a_point_that_is_not_one_is_quoted(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_point(text)
    expected = f"--point must be X,Y or X,Y,LABEL, got {text!r}; write for example --point 320,240"
    assert str(caught.value) == expected


@pytest.mark.parametrize("label", ["2", "-1", "0.5"])
def test_a_label_is_0_or_1(label: str) -> None:
    with pytest.raises(UsageError, match=f"the label of --point must be 1 or 0, got {label} in '1,2,{label}';"):
        parse_point(f"1,2,{label}")


def test_a_box_is_four_numbers() -> None:
    assert parse_box("1,2,3.5,400") == (1, 2, 3.5, 400)
    for text in ("1,2,3", "1,2,3,4,5", "1,2,3,x", "1,2,3,nan"):
        with pytest.raises(UsageError, match=f"--box must be X1,Y1,X2,Y2, got '{text}'; write for example --box"):
            parse_box(text)


def test_points_are_one_object_and_boxes_are_several() -> None:
    assert parse_prompts(["1,2", "3,4,0"], []) == [ObjectPrompt(((1, 2), (3, 4)), (1, 0))]
    assert parse_prompts([], ["0,0,5,5", "1,1,2,2"]) == [ObjectPrompt(box=(0, 0, 5, 5)), ObjectPrompt(box=(1, 1, 2, 2))]
    assert parse_prompts(["1,2"], ["0,0,5,5"]) == [ObjectPrompt(((1, 2),), (1,), (0, 0, 5, 5))]
    with pytest.raises(UsageError, match="points must come with at most one box, got 2 boxes;"):
        parse_prompts(["1,2"], ["0,0,5,5", "1,1,2,2"])


def test_formats_are_known_names_each_once() -> None:
    known = ("overlay", "mask", "cutout")
    assert parse_formats("mask, overlay,mask", known) == ["mask", "overlay"]
    with pytest.raises(
        UsageError, match="--format must be one of overlay, mask, cutout, got 'maks'; did you mean 'mask'"
    ):
        parse_formats("overlay,maks", known)
    with pytest.raises(UsageError, match="--format must be one of overlay, mask, cutout, got ''; choose one of them"):
        parse_formats(" , ", known)
