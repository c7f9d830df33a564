"""Saved files and everything mode, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tests import photos

pytestmark = [
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in pycocotools
]

EYE = (172, 107)
OpenPage = Callable[..., Any]


def decoded(annotation: dict[str, Any]) -> np.ndarray:
    mask: np.ndarray = coco_mask.decode(annotation["segmentation"]).astype(bool)
    return mask


def test_each_download_holds_the_mask(
    open_page: OpenPage, cat: Path, expected: Any, command: Any, tmp_path: Path
) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    page.click(300, 150)
    mask = expected(photos.photo("chelsea"), [(*EYE, 1), (300, 150, 1)])
    assert np.array_equal(page.save_mask(), mask)
    cutout = np.asarray(Image.open(page.save("cutout")))
    assert page.saved_as == "chelsea.cutout.png"
    assert np.array_equal(cutout[..., 3] == 255, mask)
    assert np.array_equal(cutout[mask][:, :3], photos.photo("chelsea")[mask])
    assert not cutout[~mask].any()

    coco = page.save_json("coco")
    assert (page.saved_as, coco["images"][0]["file_name"]) == ("chelsea.coco.json", "chelsea.png")
    assert np.array_equal(decoded(coco["annotations"][0]), mask)

    def drawn(rings: list[Any]) -> np.ndarray:
        canvas = np.zeros(mask.shape, np.uint8)
        for ring in rings:
            cv2.fillPoly(canvas, [np.asarray(ring).astype(np.int32)], 1)
        return canvas == 1

    def covers_little_more(drawing: np.ndarray) -> bool:
        return bool(drawing[mask].all()) and drawing.sum() < 1.05 * mask.sum()  # by the bridges to holes and parts

    labelme = page.save_json("labelme")
    assert (page.saved_as, labelme["imagePath"]) == ("chelsea.json", "chelsea.png")
    assert covers_little_more(drawn([shape["points"] for shape in labelme["shapes"]]))
    number, *shares = page.save("yolo").read_text().split()
    assert (page.saved_as, number) == ("chelsea.txt", "0")
    assert covers_little_more(drawn([np.array(shares, float).reshape(-1, 2) * (mask.shape[1], mask.shape[0])]))

    prompts = tmp_path / "prompts.json"
    prompts.write_bytes(page.save("prompts").read_bytes())
    assert page.saved_as == "chelsea.prompts.json"
    options = ("--backend", "onnx", "--out", tmp_path / "out", "--format", "mask")
    outcome = command("predict", cat, "--prompts", prompts, *options)
    assert outcome.code == 0, outcome.err
    replayed = np.asarray(Image.open(next((tmp_path / "out").glob("*.png")))) == 255
    assert np.array_equal(replayed, mask)


def test_everything_is_listed_hovered_selected_and_saved(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.segment_everything()
    rows = page.page.locator("[data-segment]")
    count = rows.count()
    assert count > 3
    assert page.page.inner_text('[data-part="count"]').startswith(f"{count} segments")
    segments = page.value("state.run.segments")

    def order() -> list[int]:
        return [int(row.get_attribute("data-segment")) for row in rows.all()]

    assert [segments[index]["area"] for index in order()] == sorted((each["area"] for each in segments), reverse=True)
    thumbnails = "() => [...document.querySelectorAll('[data-segment] canvas')].every((canvas) => canvas.width > 100)"
    page.page.wait_for_function(thumbnails)

    page.page.mouse.move(*page.place(*EYE))
    page.until("state.pointed !== null")
    page.click(*EYE)
    (index,) = page.value("state.selected")
    assert page.page.inner_text('[data-part="save-title"]') == "Save 1 selected"
    mask = page.save_mask()
    assert mask[EYE[1], EYE[0]]
    assert mask.sum() == segments[index]["area"]
    (annotation,) = page.save_json("coco")["annotations"]
    assert np.array_equal(decoded(annotation), mask)

    page.page.select_option('[data-part="sort"]', "predicted_iou")
    assert segments[order()[0]]["predicted_iou"] == max(each["predicted_iou"] for each in segments)
    assert page.page.get_attribute(f'[data-segment="{index}"]', "aria-pressed") == "true", "sorting keeps the mark"
    page.press("Escape")
    assert page.value("state.selected") == []
    assert len(page.save_json("coco")["annotations"]) == count


def test_a_row_of_the_list_shows_and_selects_its_segment(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.segment_everything()
    row = page.page.locator("[data-segment]").first
    row.focus()
    index = int(row.get_attribute("data-segment"))
    assert page.value("state.pointed") == index, "a row with the focus shows its segment"
    page.page.keyboard.press("ArrowDown")
    second = int(page.page.evaluate("() => document.activeElement.dataset.segment"))
    assert second != index
    assert page.value("state.pointed") == second
    page.page.keyboard.press("Enter")
    assert page.value("state.selected") == [second]
    page.until("page.part('live').textContent.endsWith(' segments, 1 selected')")

    page.page.click('[data-do="everything"]')
    page.until("state.run && !state.progress && state === page.store.seen")
    assert page.page.is_hidden('[data-do="unselect"]'), "a second run selects nothing"
    assert page.value("state.selected") == []


def test_what_belongs_to_one_object_is_left_alone_in_everything(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    page.segment_everything()
    before = page.prompt
    page.drag(40, 40, 300, 200)
    page.press("3")
    page.press("z")
    assert page.prompt == before
    assert page.value("state.past.length") == 1


def test_everything_can_be_canceled(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.page.click('[role="tab"][data-tab="everything"]')
    page.page.click('[data-mode="exact"]')
    page.page.focus('[data-do="everything"]')
    page.page.keyboard.press("Enter")
    page.until("state.progress?.text.includes('candidates')")
    assert page.page.evaluate("() => document.activeElement.dataset.do") == "everything", "the focus stays"
    bar = page.page.get_by_role("progressbar", name="Progress")
    assert 0 <= int(bar.get_attribute("aria-valuenow")) <= 100
    page.page.keyboard.press("Enter")
    page.until("page.part('count').textContent.includes('before you canceled')")
    assert page.page.inner_text('[data-do="everything"]') == "Segment everything"
    count = int(page.page.inner_text('[data-part="count"]').split()[0])
    assert page.value("state.run.segments.length") == count
