"""Sessions are limited in number, bytes and age, and a page whose session expired restores its state."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilesam.masks.records import MaskRecord
from mobilesam.prompts.file import ObjectPrompt
from mobilesam.segment import Candidates
from mobilesam.webui import session as states
from mobilesam.webui.session import CandidateMasks, Session, ShownImage
from mobilesam.webui.session_store import SessionExpiredError, SessionStore
from mobilesam.webui.sizes import size_of
from tests import photos
from tests.robustness.server_client import Client, serving

CAT = ShownImage("cat-digest", (300, 451), "cat.png")
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


def at_work(sessions: SessionStore, *, size: int = 0) -> str:
    """Return the token of a session with an image and masks of ``size`` bytes."""
    token = sessions.create(Session("onnx"))
    logits = np.zeros((1, 1, size // 4), np.float32)
    candidates = CandidateMasks(Candidates(logits, np.array([0.5], np.float32), (0,), 0), (681, 1024))
    sessions.change(token, lambda state: replace(states.opened(state, CAT), candidates=candidates))
    return token


def test_a_session_expires_when_it_is_not_used() -> None:
    clock = Clock()
    sessions = SessionStore(max_idle=100, clock=clock)
    idle, busy = at_work(sessions, size=1000), at_work(sessions, size=4000)
    clock.now = 90
    sessions.get(busy)
    assert (len(sessions), sessions.used > 5000) == (2, True)
    clock.now = 110
    assert len(sessions) == 1
    assert 4000 < sessions.used < 5000
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


def test_sessions_are_bounded_in_bytes_and_masks_go_before_sessions() -> None:
    sessions = SessionStore(limit_bytes=20_000)
    first, second, new = at_work(sessions, size=8000), at_work(sessions, size=8000), sessions.create(Session("onnx"))
    sessions.get(first)
    third = at_work(sessions, size=8000)
    assert known(sessions, first, second, third, new) == [True, True, True, True]
    kept = [sessions.get(token).candidates is not None for token in (first, second, third)]
    assert kept == [True, False, True], "of the one unused for longest"
    assert sessions.used <= 20_000
    huge = at_work(sessions, size=50_000)
    assert known(sessions, first, third, huge, new) == [False, False, True, True]
    sessions.change(huge, lambda state: replace(state, candidates=None))
    assert sessions.used < 2000, "what is no longer held is no longer counted"


def test_a_session_counts_all_that_it_holds() -> None:
    logits = np.zeros((3, 256, 256), np.float32)
    counts = list(range(1000, 101_000))
    segment: Any = {"segmentation": {"size": [300, 451], "counts": counts}, "area": 7}
    records: tuple[MaskRecord, ...] = (segment, segment)
    prompt = ObjectPrompt(tuple((float(x), 1.5) for x in range(200)), (1,) * 200)
    masks = Candidates(logits[:], np.full(3, 0.5, np.float32), (1, 2, 3), 0)
    session = Session("onnx", CAT, prompt, (prompt, prompt), (prompt,), CandidateMasks(masks, (681, 1024)))
    size = size_of(session)
    assert logits.nbytes < size < logits.nbytes + 50_000, "a view holds the whole array, a prompt held twice is one"
    assert 3_600_000 < size_of(replace(session, segments=records)) - size < 4_100_000


def test_the_history_is_bounded_in_bytes() -> None:
    session = states.opened(Session("onnx"), CAT)
    for turn in range(120):
        points = [[(turn + number) % 451, number % 300, 1] for number in range(states.MAX_POINTS)]
        session = states.apply(session, {"do": "restore", "points": points})
    kept = states.trimmed(session)
    assert 20 < len(kept.past) < 120
    assert size_of(kept.past) <= states.MAX_UNDO_BYTES + 10_000
    assert kept.past == session.past[-len(kept.past) :], "the newest are kept"
    assert states.trimmed(kept) is kept


def test_what_was_undone_is_bounded_with_the_history() -> None:
    session = states.opened(Session("onnx"), CAT)
    for turn in range(120):
        points = [[(turn + number) % 451, number % 300, 1] for number in range(states.MAX_POINTS)]
        session = states.apply(session, {"do": "restore", "points": points})
    for _ in range(100):
        session = states.apply(session, {"do": "undo"})
    kept = states.trimmed(session)
    assert size_of((kept.past, kept.future)) <= states.MAX_UNDO_BYTES + 10_000
    assert kept.past == session.past
    assert 5 < len(kept.future) < 100
    assert kept.future == session.future[-len(kept.future) :], "the nearest are kept"


def test_an_ordinary_history_is_kept_whole() -> None:
    session = states.opened(Session("onnx"), CAT)
    for number in range(200):
        session = states.apply(session, {"do": "point", "x": number, "y": number, "label": 1})
    assert states.trimmed(session).past == session.past
    assert len(session.past) == 200


@pytest.fixture
def page(photo: Callable[[str], Path]) -> Iterator[Any]:
    """A page in a browser, at a server that has room for one session."""
    from benchmarks.webui_server import FLAGS, chromium

    path = chromium()
    if not importlib.util.find_spec("playwright") or path is None:
        pytest.skip("Playwright or Chromium is not installed")
    from playwright.sync_api import sync_playwright

    from tests.webui.conftest import Page

    with serving("--cache-mb", "1") as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        opened = Page(browser, server.url)
        yield opened
        opened.close()
        browser.close()


@pytest.mark.weights
def test_a_page_whose_session_expired_restores_its_state(page: Any, photo: Any, onnx_sam: Any) -> None:
    from mobilesam import SamPredictor

    page.open(photo("chelsea.png"))
    page.click(*EYE)
    token = page.value("page.client.token")
    other = Client(page.url)
    other.hello()
    other.open(photo("chelsea.png").read_bytes())
    other.point(*EYE)
    assert other.health()["sessions"] == 1
    assert other.call("act", token=token, actions=[]) == {
        "error": "The session expired. Open the image again.",
        "expired": True,
    }
    page.click(300, 150)
    page.until("page.session.prompt.points.length === 2 && page.session.masks.length")
    page.settle()
    assert (page.message, page.value("page.client.token") == token) == ("", False)
    predictor = SamPredictor(onnx_sam)
    predictor.set_image(photos.photo("chelsea"))
    expected = predictor.predict_one([EYE, (300, 150)], [1, 1], None, select="single").masks[0]
    assert np.array_equal(page.save_mask(), expected)
