"""Clients in real browsers: several at once, a reloaded page, a restarted server, a phone."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import photos
from tests.robustness.server_client import serving

pytestmark = pytest.mark.weights

EYE = (172, 107)
OpenPage = Callable[..., Any]


def test_clients_never_see_the_work_of_others(open_page: OpenPage, photo: Any, cat: Path, expected: Any) -> None:
    one, other, third = open_page(), open_page(), open_page()
    one.open(cat)
    other.open(photo("coffee.png"))
    third.open(cat)
    one.click(*EYE)
    other.drag(75, 10, 468, 388)
    assert third.prompt == {"points": [], "box": None}, "the same image in another session"
    third.click(300, 150)
    one.click(220, 200, button="right")
    points = [(*EYE, 1), (220, 200, 0)]
    assert one.prompt == {"points": [list(point) for point in points], "box": None}
    assert other.prompt == {"points": [], "box": [75, 10, 468, 388]}
    assert np.array_equal(one.save_mask(), expected(photos.photo("chelsea"), points))
    assert np.array_equal(other.save_mask(), expected(photos.photo("coffee"), box=[75, 10, 468, 388]))
    assert np.array_equal(third.save_mask(), expected(photos.photo("chelsea"), [(300, 150, 1)]))
    one.press("Escape")
    assert other.prompt["box"] == [75, 10, 468, 388]
    assert len({page.value("page.engine.token") for page in (one, other, third)}) == 3


def test_a_reloaded_page_keeps_its_state(open_page: OpenPage, cat: Path, photo: Any, expected: Any) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    page.page.reload()
    page.page.wait_for_selector('.mobilesam[data-state="ready"]')
    assert page.prompt == {"points": [[*EYE, 1]], "box": None}
    page.click(300, 150)
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), [(*EYE, 1), (300, 150, 1)]))
    page.page.set_input_files('[data-part="file"]', photo("coffee.png"))
    page.page.wait_for_function("() => ['uploading', 'encoding'].includes(pageOf().root.dataset.state)")
    page.page.reload()
    page.page.wait_for_selector('.mobilesam[data-state="ready"]')
    page.open(photo("coffee.png"))
    page.drag(75, 10, 468, 388)
    assert np.array_equal(page.save_mask(), expected(photos.photo("coffee"), box=[75, 10, 468, 388]))


def test_a_restarted_server_gets_the_image_and_the_prompt_again(open_page: OpenPage, cat: Path, expected: Any) -> None:
    with serving() as first:
        page = open_page(first.url)
        page.open(cat)
        page.click(*EYE)
        assert first.stop() == 0
        page.click(300, 150)
        assert page.message == "The server does not respond. Check that it is running and try again."
        assert page.prompt["points"] == [[*EYE, 1], [300, 150, 1]], "the click is kept"
    port = re.search(r":(\d+)", first.url)[1]
    with serving("--port", port):
        page.page.click('[data-do="retry"]')
        page.until("state.doc.prompt.points.length === 2 && state.decoded?.prediction.masks.length === 1")
        page.settle()
        assert page.message == ""
        assert page.prompt["points"] == [[*EYE, 1], [300, 150, 1]]
        assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), [(*EYE, 1), (300, 150, 1)]))
    assert all("ERR_CONNECTION_REFUSED" in problem or "410" in problem for problem in page.problems)
    page.problems.clear()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_cleanly_in_the_middle_of_work(number: signal.Signals, open_page: OpenPage, cat: Path) -> None:
    with serving() as server:
        page = open_page(server.url)
        page.open(cat)
        page.page.click('[role="tab"][data-tab="everything"]')
        page.page.click('[data-mode="exact"]')
        page.page.click('[data-do="everything"]')
        page.until("page.part('count').textContent.includes('candidates')")
        assert server.stop(number) == 0
        assert "Traceback" not in "".join(server.log)
        page.until("!state.progress")
    page.problems.clear()


def test_the_page_fits_a_phone_and_takes_fingers(open_page: OpenPage, cat: Path, expected: Any) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, device_scale_factor=2)
    assert page.page.inner_text(".invite h2") == "Open an image"

    def overflows() -> list[str]:
        return list(
            page.page.evaluate(
                "() => [...document.querySelectorAll('.mobilesam *')].filter((one) => one.getClientRects().length"
                " && one.getBoundingClientRect().right > 360.5).map((one) => one.outerHTML.slice(0, 90))"
            )
        )

    assert overflows() == []
    page.open(cat)
    page.page.touchscreen.tap(*page.place(*EYE))
    page.until("state.decoded")
    page.settle()
    assert page.page.evaluate("() => document.documentElement.scrollWidth") == 360
    assert overflows() == []
    (point,) = page.prompt["points"]
    assert point[:2] == pytest.approx(EYE, abs=2)
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), [point]))

    page.page.evaluate("() => scrollTo(0, 0)")
    page.page.tap('[data-do="clear"]')
    page.page.tap('[data-tool="box"]')
    finger = page.context.new_cdp_session(page.page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y} for x, y in (page.place(*place) for place in places)]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (40, 10))
    touch("touchMove", (200, 120))
    touch("touchMove", (420, 290))
    touch("touchEnd")
    page.until("state.doc.prompt.box !== null && state.decoded && !state.decoding")
    assert page.prompt["box"] == pytest.approx([40, 10, 420, 290], abs=2)
    page.page.tap('[role="tab"][data-tab="everything"]')
    assert overflows() == []
