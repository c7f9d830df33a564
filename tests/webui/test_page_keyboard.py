"""The page without a mouse, for a screen reader, in forced colors and on small screens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import photos
from tests.webui.test_page_objects import names

pytestmark = pytest.mark.weights

AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
EYE = (172, 107)
OpenPage = Callable[..., Any]


def move_crosshair(page: Any, x: int, y: int) -> None:
    """Move the crosshair to a pixel of the image with arrow keys, far ones first."""
    page.page.keyboard.press("ArrowRight")
    for axis, size, keys in (("x", x, ("ArrowLeft", "ArrowRight")), ("y", y, ("ArrowUp", "ArrowDown"))):
        for key, far in (("Shift+", 10), ("", 1)):
            step = page.value("Math.max(1, Math.round(1 / page.painter.fit.scale))") * far
            while abs(distance := size - page.value(f"state.crosshair.{axis}")) >= step:
                page.page.keyboard.press(key + keys[distance > 0])


def serious(page: Any) -> list[str]:
    """Return the serious violations that axe-core finds in the page, with their elements."""
    page.page.evaluate(AXE.read_text(encoding="utf-8"))
    violations = page.page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {node['html'][:120]}"
        for each in violations["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def test_an_object_is_marked_kept_and_saved_without_a_mouse(open_page: OpenPage, cat: Path, expected: Any) -> None:
    image = photos.photo("chelsea")
    page = open_page()
    page.open(cat)
    page.page.focus('[data-part="canvas"]')
    move_crosshair(page, *EYE)
    page.press("Enter")
    assert page.prompt["points"] == [[*EYE, 1]]
    assert page.page.inner_text('[data-part="live"]').startswith("3 masks, ")
    assert np.array_equal(page.save_mask(), expected(image, [(*EYE, 1)]))
    page.page.focus('[data-part="canvas"]')
    move_crosshair(page, 430, 40)
    page.press("Shift+Enter")
    assert page.prompt["points"] == [[*EYE, 1], [430, 40, 0]]
    page.press("k")
    page.until("document.activeElement.matches('[data-object] input')")
    page.page.keyboard.type("eye")
    page.press("Enter")
    assert names(page) == ["eye"]

    move_crosshair(page, 40, 10)
    page.press("b")
    move_crosshair(page, 420, 290)
    page.press("b")
    assert page.prompt == {"points": [], "box": [40, 10, 420, 290]}
    page.press("Escape")
    page.press("b")
    page.press("Escape")
    assert page.value("state.corner") is None
    assert page.prompt["box"] is None


def test_groups_have_one_stop_and_arrow_keys_inside(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    for group in ("tools", "tabs", "looks", "candidates"):
        stops = page.page.eval_on_selector_all(
            f'[data-part="{group}"] button', "all => all.filter((one) => one.tabIndex === 0).length"
        )
        assert stops == 1, group
    page.page.focus('button[data-look="overlay"]')
    page.page.keyboard.press("ArrowRight")
    assert page.value("state.look") == "outline"
    page.page.keyboard.press("End")
    assert page.value("state.look") == "cutout"
    page.page.keyboard.press("Home")
    before = page.prompt
    page.page.focus('[data-candidate][aria-checked="true"]')
    page.page.keyboard.press("ArrowRight")
    page.settle()
    assert page.prompt["points"] == before["points"]
    assert page.prompt["chosen"] is not None
    page.page.focus('button[data-tab="prompt"]')
    page.page.keyboard.press("ArrowRight")
    assert page.value("state.tab") == "everything"


def test_the_sheet_of_keys_opens_and_closes(open_page: OpenPage) -> None:
    page = open_page()
    page.page.keyboard.press("?")
    assert page.page.is_visible("dialog.keys")
    script = page.page.inner_text('[data-part="script"]')
    assert f'Client("{page.url.rstrip("/")}")' in script
    page.page.keyboard.press("Escape")
    assert page.page.is_hidden("dialog.keys")


def test_no_serious_violation_in_the_main_states(open_page: OpenPage, cat: Path) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make tests/webui/node_modules/.package-lock.json")
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme, reduced_motion="reduce")
        violations = {"empty": serious(page)}
        page.open(cat)
        violations["opened"] = serious(page)
        page.click(*EYE)
        violations["marked"] = serious(page)
        page.press("k")
        page.until("state.doc.objects.length === 1")
        violations["kept"] = serious(page)
        page.segment_everything()
        violations["everything"] = serious(page)
        page.page.click('[data-do="keys"]')
        violations["keys"] = serious(page)
        assert {state: each for state, each in violations.items() if each} == {}, scheme


def test_the_page_is_usable_in_forced_colors(open_page: OpenPage, cat: Path) -> None:
    page = open_page(forced_colors="active")
    page.open(cat)
    page.click(*EYE)
    borders = page.page.evaluate(
        "() => [...document.querySelectorAll('[data-candidate]')].map((one) => getComputedStyle(one).borderTopWidth)"
    )
    assert sorted(borders) == ["1px", "1px", "2px"], "the chosen one differs by its border"


@pytest.mark.parametrize("size", [(360, 740), (740, 360)])
def test_targets_are_large_and_the_image_fills_its_card_on_a_phone(
    size: tuple[int, int], open_page: OpenPage, cat: Path, tmp_path: Path
) -> None:
    from PIL import Image

    tall = tmp_path / "tall.png"
    Image.fromarray(photos.photo("chelsea")).resize((540, 960)).save(tall)
    viewport = {"width": size[0], "height": size[1]}
    page = open_page(viewport=viewport, has_touch=True, is_mobile=True, device_scale_factor=2)
    page.open(tall if size[0] < size[1] else cat)
    page.click(200, 150)
    page.press("k")
    page.until("state.doc.objects.length === 1")
    small = page.page.evaluate(
        "() => [...document.querySelectorAll('.mobilesam :is(button, select, input, summary)')].filter((one) => {"
        " const box = one.getBoundingClientRect(), label = one.closest('label')?.getBoundingClientRect();"
        " const seen = box.width && getComputedStyle(one).visibility === 'visible';"
        " return seen && Math.max(box.height, label?.height ?? 0) < 39.5; }).map((one) => one.outerHTML.slice(0, 90))"
    )
    assert small == []
    assert page.page.evaluate("() => document.documentElement.scrollWidth") == size[0]
    view, fit = page.value("[page.painter.view, page.painter.fit]")
    covered = fit["scale"] ** 2 * fit["width"] * fit["height"] / (view["width"] * view["height"])
    assert covered > (0.95 if size[0] < size[1] else 0.6)
