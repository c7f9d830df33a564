"""The state of a session and prompts as the page sends them: pure functions, without a server or a model."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from mobilesam.errors import InputError
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.serve.values import OpenImage
from mobilesam.webui import session as states
from mobilesam.webui.session import Session, read_prompt

CAT = OpenImage("cat-digest", (300, 451), "cat.png")
DOG = OpenImage("dog-digest", (40, 30), "dog.png")
HW = CAT.hw


def test_points_and_a_box_are_one_prompt() -> None:
    prompt = read_prompt({"points": [[10, 20, 1], [30, 40, 0]], "box": [200, 150, 100, 50]}, HW)
    assert prompt == ObjectPrompt(((10.0, 20.0), (30.0, 40.0)), (1, 0), (100.0, 50.0, 200.0, 150.0))
    assert read_prompt({"points": None, "box": None, "steps": [], "chosen": None}, HW) == states.NOTHING


def test_steps_are_earlier_prompts_each_with_its_choice() -> None:
    step = {"points": [[10, 20, 1]], "box": None, "chosen": 2}
    prompt = read_prompt({"points": [[10, 20, 1], [30, 40, 0]], "steps": [step], "chosen": 0}, HW)
    assert prompt.steps == (ObjectPrompt(((10.0, 20.0),), (1,), chosen=2),)
    assert (prompt.chosen, prompt.refines) == (0, True)


def test_the_state_is_immutable() -> None:
    session = states.opened(Session("onnx"), CAT)
    with pytest.raises(FrozenInstanceError):
        session.run = 2  # type: ignore[misc]


def test_another_image_drops_the_segments_and_the_same_one_does_not() -> None:
    segment: Any = {"area": 1}
    session = replace(states.opened(Session("onnx"), CAT), segments=(segment,), run=3)
    other, same = states.opened(session, DOG), states.opened(session, replace(CAT, name="copy.png"))
    assert (other.model, other.image, other.segments, other.run) == ("onnx", DOG, (), 0)
    assert (same.segments, same.run) == ((segment,), 3)
    assert same.image == replace(CAT, name="copy.png")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("x", "prompt must be an object, got str"),
        (None, "prompt must be an object, got NoneType"),
        ({"points": [[451, 10, 1]]}, "a point must lie in the image, 451 x 300, got 451, 10; click inside it"),
        ({"points": [[-1, 10, 1]]}, "a point must lie in the image, 451 x 300, got -1, 10"),
        ({"points": [[float("nan"), 10, 1]]}, "a point must have numbers x and y, got nan, 10"),
        ({"points": [["1", 2, 1]]}, "a point must have numbers x and y, got '1', 2"),
        ({"points": [[True, 2, 1]]}, "a point must have numbers x and y, got True, 2"),
        ({"points": [[1, 1, 2]]}, "label must be 1 or 0, got 2; 1 marks the object, 0 the background"),
        ({"points": [[1, 1, True]]}, "label must be 1 or 0, got True"),
        ({"points": [[1, 2]]}, "each point must be [x, y, label], got [1, 2]"),
        ({"points": "x"}, "points must be a list, got str"),
        ({"box": [5, 5, 5, 9]}, "box must have an area, got [5, 5, 5, 9]; drag further"),
        ({"box": [5, 5, 9]}, "box must be [x1, y1, x2, y2], got [5, 5, 9]"),
        ({"box": [0, 0, 452, 9]}, "box must lie in the image, 451 x 300"),
        ({"points": [[1, 1, 1]] * 257}, "points must be at most 256, got 257; undo some, or draw a box"),
        ({"steps": [{"points": [[999, 1, 1]], "chosen": 1}]}, "a point must lie in the image, 451 x 300, got 999, 1"),
    ],
)
def test_prompts_of_another_form_are_refused(prompt: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_prompt(prompt, HW)
    assert message in str(caught.value)


def test_a_session_without_an_image_has_none() -> None:
    with pytest.raises(InputError, match=r"No image is open\. Open one first\."):
        states.open_image(Session("onnx"))
