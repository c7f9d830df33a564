"""Clicks, drags and keys on the page, in a real browser; the masks compared with SamPredictor's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilesam.image.read import read_image
from tests import photos

pytestmark = pytest.mark.weights

EYE = (172, 107)
SPOT, WALL = (165, 112), (30, 280)  # inside and outside the mask of a click on the eye
OpenPage = Callable[..., Any]


def test_a_click_on_the_cat_gives_the_mask_of_the_predictor(open_page: OpenPage, cat: Path, expected: Any) -> None:
    page = open_page()
    page.open(cat)
    wall = page.color(*WALL)
    page.click(*EYE)
    mask = page.save_mask()
    assert page.saved_as == "chelsea.mask.png"
    assert page.prompt == {"points": [[*EYE, 1]], "box": None}
    assert np.array_equal(mask, expected(photos.photo("chelsea"), [(*EYE, 1)]))
    assert mask[SPOT[1], SPOT[0]]
    assert not mask[WALL[1], WALL[0]]
    assert page.color(*WALL) == wall, "nothing is painted beside the mask"
    assert page.color(*SPOT)[2] > page.color(*SPOT)[0], "the mask is blue"
    timing = page.page.inner_text('[data-part="timing"]')
    assert re.fullmatch(r"encoded in \d\S* s  ·  mask in \d\S* s on the server", timing)


def test_right_click_shift_click_and_the_tool_mark_what_is_not_part(
    open_page: OpenPage, cat: Path, expected: Any
) -> None:
    page = open_page()
    page.open(cat)
    page.click(220, 150)
    page.click(60, 60, button="right")
    page.page.keyboard.down("Shift")
    page.click(430, 40)
    page.page.keyboard.up("Shift")
    page.page.click('button[data-tool="background"]')
    page.click(440, 200)
    points = [(220, 150, 1), (60, 60, 0), (430, 40, 0), (440, 200, 0)]
    assert page.prompt["points"] == [list(point) for point in points]
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), points))


def test_a_drag_draws_a_box_and_one_without_area_draws_none(open_page: OpenPage, cat: Path, expected: Any) -> None:
    page = open_page()
    page.open(cat)
    page.drag(420, 290, 40, 10)
    assert page.prompt == {"points": [], "box": [40, 10, 420, 290]}
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), box=[40, 10, 420, 290]))
    page.drag(100, 50, 300, 50)
    assert page.prompt["box"] == [40, 10, 420, 290]
    assert page.message == ""


def test_undo_redo_clear_and_choosing_by_keyboard(
    open_page: OpenPage, cat: Path, expected: Any, predictor: Any
) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    one = expected(photos.photo("chelsea"), [(*EYE, 1)])
    page.click(300, 150)
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), [(*EYE, 1), (300, 150, 1)]))
    page.press("z")
    assert np.array_equal(page.save_mask(), one)
    page.press("y")
    assert len(page.prompt["points"]) == 2
    page.page.click('[data-do="undo"]')
    page.settle()
    four = [*predictor.predict([EYE], [1]).masks, one]
    seen = []
    for key in "123":
        page.press(key)
        mask = page.save_mask()
        assert any(np.array_equal(mask, other) for other in four)
        seen.append(mask)
    assert len({mask.tobytes() for mask in seen}) == 3
    page.press("Escape")
    assert page.prompt == {"points": [], "box": None}
    assert page.page.is_disabled('[data-save="mask"]')
    page.press("z")
    assert page.prompt["points"] == [[*EYE, 1]]


def test_every_view_shows_what_it_says(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.page.mouse.move(5, 5)
    page.click(*EYE)

    def seen(look: str) -> tuple[list[int], list[int]]:
        page.page.click(f'[data-look="{look}"]')
        page.settle()
        return page.color(*SPOT), page.color(*WALL)

    assert seen("mask") == ([255, 255, 255], [0, 0, 0])
    plain = seen("outline")
    cutout = seen("cutout")
    assert cutout[0] == pytest.approx(plain[0], abs=3)
    assert cutout[1] != plain[1]
    assert min(cutout[1]) > 200, "the checkerboard is light"
    overlay = seen("overlay")
    assert overlay[1] == plain[1]
    page.page.fill('[data-part="opacity"]', "100")
    page.settle()
    assert page.color(*SPOT) == pytest.approx([51, 131, 250], abs=2)


def test_a_hundred_quick_clicks_are_all_kept(open_page: OpenPage, cat: Path, expected: Any) -> None:
    page = open_page()
    page.open(cat)
    places = [(100 + turn % 10, 100 + turn // 10) for turn in range(100)]
    calls = len(page.requests)
    page.page.evaluate(
        """places => {
          const { canvas, fit: fitted } = pageOf().painter, box = canvas.getBoundingClientRect();
          for (const [x, y] of places) {
            const clientX = box.left + fitted.left + (x + 0.5) * fitted.scale;
            const clientY = box.top + fitted.top + (y + 0.5) * fitted.scale;
            const where = { clientX, clientY, button: 0, isPrimary: true, pointerType: "pen", pointerId: 1 };
            for (const type of ["pointerdown", "pointerup"]) canvas.dispatchEvent(new PointerEvent(type, where));
          }
        }""",
        [list(place) for place in places],
    )
    page.settle()
    assert page.prompt["points"] == [[x, y, 1] for x, y in places]
    assert len(page.requests) - calls <= 4, "they went in a few bundles"
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), [(x, y, 1) for x, y in places]))


def test_the_mask_under_the_pointer_is_shown_and_leaves_no_trace(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.page.mouse.move(*page.place(*EYE))
    page.until("state.preview !== null")
    assert page.prompt == {"points": [], "box": None}
    assert page.page.is_disabled('[data-save="mask"]')
    page.page.mouse.move(2, 2)
    page.until("state.preview === null")


@pytest.mark.parametrize("kind", ["tiny", "portrait", "turned", "twelve megapixels", "very wide"])
def test_coordinates_are_those_of_the_image(kind: str, open_page: OpenPage, expected: Any, tmp_path: Path) -> None:
    coffee = Image.fromarray(photos.photo("coffee"))
    path, exif = tmp_path / "coffee.png", Image.Exif()
    if kind == "tiny":
        coffee = coffee.resize((12, 8))
    elif kind == "portrait":
        coffee = coffee.rotate(90, expand=True)
    elif kind == "turned":
        exif[0x0112] = 6
        path = path.with_suffix(".jpg")
    elif kind == "twelve megapixels":
        coffee = coffee.resize((4000, 3000))
        path = path.with_suffix(".jpg")
    else:
        coffee = coffee.resize((3000, 40))
    coffee.save(path, exif=exif)
    image = read_image(path)
    height, width = image.shape[:2]
    page = open_page()
    page.open(path)
    assert page.value("[state.image.width, state.image.height]") == [width, height]
    fitted = page.value("page.painter.fit.scale")
    within = max(0, 1 / fitted)  # pixels of the image under one of the window
    wanted = (width * 4 // 10, height // 2)
    page.click(*wanted)
    (point,) = page.prompt["points"]
    assert point[:2] == pytest.approx(wanted, abs=0 if within <= 1 else within)
    mask = page.save_mask()
    assert mask.shape == (height, width)
    assert np.array_equal(mask, expected(image, [point]))
