"""The actions on the state of a session: pure functions, without a server or a model."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from mobilesam.errors import InputError
from mobilesam.prompts.file import ObjectPrompt
from mobilesam.segment import Candidates
from mobilesam.webui import session as states
from mobilesam.webui.session import CandidateMasks, Session, ShownImage

CAT = ShownImage("cat-digest", (300, 451), "cat.png")
DOG = ShownImage("dog-digest", (40, 30), "dog.png")


def opened() -> Session:
    return states.opened(Session("onnx"), CAT)


def after(session: Session, *actions: dict[str, Any]) -> Session:
    for action in actions:
        session = states.apply(session, action)
    return session


def point(x: float, y: float, label: int = 1) -> dict[str, Any]:
    return {"do": "point", "x": x, "y": y, "label": label}


def candidates(count: int = 3, best: int = 1) -> CandidateMasks:
    logits, ious = np.zeros((count, 256, 256), np.float32), np.full(count, 0.5, np.float32)
    return CandidateMasks(Candidates(logits, ious, (1, 0, 3)[:count], best), (681, 1024))


def test_clicks_and_drags_add_up_to_one_prompt() -> None:
    session = after(opened(), point(10, 20), point(30, 40, 0), {"do": "box", "box": [200, 150, 100, 50]})
    assert session.prompt == ObjectPrompt(((10.0, 20.0), (30.0, 40.0)), (1, 0), (100.0, 50.0, 200.0, 150.0))


def test_the_state_is_immutable_and_the_earlier_one_stays() -> None:
    before = after(opened(), point(10, 20))
    after(before, point(11, 21))
    assert before.prompt.points == ((10.0, 20.0),)
    with pytest.raises(FrozenInstanceError):
        before.chosen = 2  # type: ignore[misc]


def test_undo_and_redo_go_through_every_prompt() -> None:
    first = after(opened(), point(1, 1))
    second = after(first, point(2, 2))
    third = after(second, {"do": "clear"})
    assert after(third, {"do": "undo"}).prompt == second.prompt
    assert after(third, {"do": "undo"}, {"do": "undo"}).prompt == first.prompt
    assert after(third, *[{"do": "undo"}] * 9).prompt == states.NOTHING
    assert after(third, *[{"do": "undo"}] * 9, *[{"do": "redo"}] * 2).prompt == second.prompt
    assert after(third, *[{"do": "undo"}] * 2, *[{"do": "redo"}] * 9).prompt == third.prompt


def test_a_new_mark_ends_what_could_be_redone() -> None:
    session = after(opened(), point(1, 1), point(2, 2), {"do": "undo"}, point(3, 3))
    assert session.future == ()
    assert after(session, {"do": "redo"}) == session


def test_the_history_is_bounded() -> None:
    session = opened()
    for turn in range(states.MAX_UNDO + 50):
        session = after(session, {"do": "restore", "points": [[turn % 400, 1, 1]]})
    assert len(session.past) == states.MAX_UNDO


def test_a_mark_drops_the_candidates_and_the_best_one_is_in_use() -> None:
    session = replace(after(opened(), point(1, 1)), candidates=candidates(best=1))
    assert session.chosen == 1
    assert after(session, {"do": "choose", "index": 2}).chosen == 2
    assert after(session, point(2, 2)).candidates is None
    assert after(session, {"do": "undo"}).candidates is None
    assert states.with_model(session, "torch").candidates is None


def test_another_image_starts_anew_and_the_same_one_does_not() -> None:
    session = replace(after(opened(), point(1, 1)), candidates=candidates())
    assert states.opened(session, DOG) == Session("onnx", DOG)
    assert states.opened(session, CAT).prompt == session.prompt


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("undo", 'an action must be an object, got str; write {"do": "undo"}'),
        ({"do": "undu"}, "do must be one of point, box, undo, .*, got 'undu'; did you mean 'undo'?"),
        (point(451, 10), "a point must lie in the image, 451 x 300, got 451, 10; click inside it"),
        (point(-1, 10), "a point must lie in the image, 451 x 300, got -1, 10"),
        (point(float("nan"), 10), "a point must have numbers x and y, got nan, 10"),
        ({"do": "point", "x": "1", "y": 2}, "a point must have numbers x and y, got '1', 2"),
        (point(1, 1, 2), "label must be 1 or 0, got 2; 1 marks the object, 0 the background"),
        ({"do": "box", "box": [5, 5, 5, 9]}, r"box must have an area, got \[5, 5, 5, 9\]; drag further"),
        ({"do": "box", "box": [5, 5, 9]}, r"box must be \[x1, y1, x2, y2\], got \[5, 5, 9\]"),
        ({"do": "box", "box": [0, 0, 452, 9]}, "box must lie in the image, 451 x 300"),
        ({"do": "choose", "index": 0}, "index must be the index of one of 0 masks, got 0; click the object first"),
        ({"do": "restore", "points": "x"}, "points must be a list, got str"),
        ({"do": "restore", "points": [[1, 2]]}, r"each point must be \[x, y, label\], got \[1, 2\]"),
    ],
)
def test_what_cannot_be_applied_is_refused(action: Any, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?").replace("*, got", "*, got")):
        states.apply(opened(), action)


def test_a_click_before_an_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"No image is open\. Open one first\."):
        states.apply(Session("onnx"), point(1, 1))


def test_there_may_be_so_many_points() -> None:
    session = after(opened(), *[point(index % 451, index // 451) for index in range(states.MAX_POINTS)])
    with pytest.raises(InputError, match="points must be at most 256, got 257; undo some, or draw a box"):
        after(session, point(5, 5))
