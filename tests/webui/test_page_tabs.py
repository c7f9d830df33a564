"""Several tabs: the actions in one never change another, even where they share a token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import photos
from tests.webui.conftest import Page

pytestmark = pytest.mark.weights

EYE, CUP = (172, 107), (300, 150)
OpenPage = Callable[..., Any]


def duplicate(page: Any) -> Any:
    """Open the page in a second tab, into which the browser copies the session storage, as "Duplicate" does."""
    page.context.add_init_script("window.pageOf = () => document.querySelector('.mobilesam').page;")
    with page.context.expect_page() as opened:
        page.page.evaluate("() => { window.open(location.href); }")
    other = object.__new__(Page)
    other.__dict__ |= page.__dict__
    other.page = opened.value
    other.page.set_default_timeout(120_000)
    other.page.wait_for_selector('.mobilesam[data-state="ready"]')
    other.settle()
    return other


def test_a_duplicated_tab_goes_its_own_way(open_page: OpenPage, cat: Path, photo: Any, expected: Any) -> None:
    one = open_page()
    one.open(cat)
    one.click(*EYE)
    other = duplicate(one)
    assert other.prompt == one.prompt
    assert len(other.masks) == 3
    assert other.value("page.engine.token") != one.value("page.engine.token")
    other.press("Escape")
    other.click(300, 150)
    one.click(300, 150)
    assert one.prompt["points"] == [[*EYE, 1], [300, 150, 1]]
    other.open(photo("coffee.png"))
    other.click(*CUP)
    one.press("z")
    assert np.array_equal(one.save_mask(), expected(photos.photo("chelsea"), [(*EYE, 1)]))
    assert np.array_equal(other.save_mask(), expected(photos.photo("coffee"), [(*CUP, 1)]))
    one.page.reload()
    one.page.wait_for_selector('.mobilesam[data-state="ready"]')
    assert one.prompt["points"] == [[*EYE, 1]]


@pytest.mark.parametrize("what", ["click", "save", "everything"])
def test_tabs_that_share_a_token_never_mix_their_images(
    what: str, open_page: OpenPage, cat: Path, photo: Any, expected: Any
) -> None:
    one, other = open_page(), open_page()
    one.open(cat)
    one.click(*EYE)
    shared = one.value("page.engine.token")
    other.page.evaluate("token => { pageOf().engine.token = token; }", shared)
    other.open(photo("coffee.png"))
    other.click(*CUP)

    if what == "click":
        one.click(300, 150)
        one.until("state.doc.prompt.points.length === 2 && state.decoded?.prediction.masks.length === 1")
        points = [(*EYE, 1), (300, 150, 1)]
    elif what == "save":
        one.page.click('[data-save="mask"]')
        points = [(*EYE, 1)]
    else:
        one.page.click('[role="tab"][data-tab="everything"]')
        one.page.click('[data-do="everything"]')
        points = [(*EYE, 1)]
    one.page.wait_for_function("token => pageOf().engine.token !== token", arg=shared)
    one.page.click('[role="tab"][data-tab="prompt"]')
    one.settle()
    assert one.value("state.image.name") == "chelsea.png"
    assert np.array_equal(one.save_mask(), expected(photos.photo("chelsea"), points))
    assert np.array_equal(other.save_mask(), expected(photos.photo("coffee"), [(*CUP, 1)]))
    one.problems[:] = [problem for problem in one.problems if "410" not in problem]


def test_a_hover_and_a_model_switch_do_not_show_another_image(
    open_page: OpenPage, cat: Path, photo: Any, expected: Any
) -> None:
    one, other = open_page(), open_page()
    one.open(cat)
    other.page.evaluate("token => { pageOf().engine.token = token; }", one.value("page.engine.token"))
    other.open(photo("coffee.png"))
    with one.page.expect_response(lambda response: "service/predict" in response.url) as response:
        one.page.mouse.move(*one.place(*EYE))
    assert "Another image was opened" in response.value.text()
    assert one.value("state.preview") is None
    one.page.evaluate("() => pageOf().images.useModel('onnx')")
    one.settle()
    one.click(*EYE)
    assert np.array_equal(one.save_mask(), expected(photos.photo("chelsea"), [(*EYE, 1)]))
    one.problems[:] = [problem for problem in one.problems if "410" not in problem]
