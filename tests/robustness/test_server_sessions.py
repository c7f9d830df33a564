"""Sessions are limited in number, bytes and age, and a page whose session expired opens its image again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.page_client import Client
from mobilesam.masks.records import MaskRecord
from mobilesam.serve.values import OpenImage
from mobilesam.webui import session as states
from mobilesam.webui.session import Session
from mobilesam.webui.session_store import SessionExpiredError, SessionStore
from mobilesam.webui.sizes import size_of
from tests import photos
from tests.robustness.server_client import serving

CAT = OpenImage("cat-digest", (300, 451), "cat.png")
EYE = (172, 107)


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def known(sessions: SessionStore, *tokens: str) -> list[bool]:
    alive = []
    for token in tokens:
        try:
            sessions.get(token)
        except SessionExpiredError:
            alive.append(False)
        else:
            alive.append(True)
    return alive


def segments_of(size: int) -> tuple[MaskRecord, ...]:
    """Return a segment of about so many bytes."""
    segment: Any = {"segmentation": {"size": [300, 451], "counts": np.zeros(size // 4, np.int32)}, "area": 7}
    return (segment,)


def at_work(sessions: SessionStore, *, size: int = 0) -> str:
    """Return the token of a session with an image and segments of ``size`` bytes."""
    token = sessions.create(Session("onnx"))
    sessions.change(token, lambda state: replace(states.opened(state, CAT), segments=segments_of(size), run=1))
    return token


def test_a_session_expires_when_it_is_not_used() -> None:
    clock = Clock()
    sessions = SessionStore(max_idle=100, clock=clock)
    idle, busy = at_work(sessions, size=1000), at_work(sessions, size=4000)
    clock.now = 90
    sessions.get(busy)
    assert (len(sessions), sessions.used > 6000) == (2, True)
    clock.now = 110
    assert len(sessions) == 1
    assert 4000 < sessions.used < 6000
    assert known(sessions, idle, busy) == [False, True]
    clock.now = 300
    assert (len(sessions), sessions.used) == (0, 0)


def test_a_flood_of_new_sessions_does_not_displace_one_in_use() -> None:
    sessions = SessionStore(limit=10)
    working = at_work(sessions)
    tokens = [sessions.create(Session("onnx")) for _ in range(50)]
    assert known(sessions, working, *tokens) == [True] + [False] * 41 + [True] * 9
    for _ in range(9):
        at_work(sessions)
    newest = sessions.create(Session("onnx"))
    assert known(sessions, newest) == [True], "even where all others are at work"
    assert len(sessions) == 10


def test_sessions_are_bounded_in_bytes_and_the_one_unused_for_longest_goes_first() -> None:
    sessions = SessionStore(limit_bytes=20_000)
    first, second, new = at_work(sessions, size=8000), at_work(sessions, size=8000), sessions.create(Session("onnx"))
    sessions.get(first)
    third = at_work(sessions, size=8000)
    assert known(sessions, first, second, third, new) == [True, False, True, True]
    assert sessions.used <= 20_000
    huge = at_work(sessions, size=50_000)
    assert known(sessions, first, third, huge, new) == [False, False, True, True]
    sessions.change(huge, lambda state: replace(state, segments=()))
    assert sessions.used < 2000, "what is no longer held is no longer counted"


def test_a_session_counts_all_that_it_holds() -> None:
    session = Session("onnx", CAT)
    size = size_of(session)
    assert size < 2000
    (segment,) = segments_of(400_000)
    assert 400_000 < size_of(replace(session, segments=(segment, segment))) - size < 401_000, "one held twice is one"
    counts = np.zeros(300_000, np.int32)
    segment = {**segment, "segmentation": {"size": [300, 451], "counts": counts[:10]}}
    assert size_of(replace(session, segments=(segment,))) - size > counts.nbytes, "a view holds the whole array"


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page in a browser, at a server that has room for one image."""
    from tests.webui.conftest import Page

    with serving("--cache-mb", "1") as server:
        opened = Page(browser, server.url)
        yield opened
        opened.close()


@pytest.mark.weights
def test_a_page_whose_image_was_dropped_opens_its_image_again(page: Any, photo: Any, onnx_sam: Any) -> None:
    from mobilesam import SamPredictor

    page.open(photo("chelsea.png"))
    page.click(*EYE)
    other, same = Client(page.url), Client(page.url)
    other.hello()
    other.open(photo("coffee.png").read_bytes())
    same.token = page.value("page.engine.token")
    assert same.point(*EYE) == {"error": "The image is no longer in memory. Open it again.", "expired": True}
    page.click(300, 150)
    page.settle()
    assert page.message == ""
    page.problems.clear()  # the browser logs the status of the refused request
    predictor = SamPredictor(onnx_sam)
    predictor.set_image(photos.photo("chelsea"))
    expected = predictor.predict_one([EYE, (300, 150)], [1, 1], None, select="single").masks[0]
    assert np.array_equal(page.save_mask(), expected)
