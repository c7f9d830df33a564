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


def test_everything_is_found_hovered_selected_and_saved(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.page.click('[role="tab"][data-tab="everything"]')
    page.page.click('[data-mode="fast"]')
    page.page.click('[data-do="everything"]')
    page.page.wait_for_selector("[data-segment]")
    count = page.page.locator("[data-segment]").count()
    assert page.page.inner_text('[data-part="count"]').startswith(f"{count} segment")
    areas = page.value("page.everything.segments.map((segment) => segment.area)")
    first = page.page.get_attribute("[data-segment] >> nth=0", "data-segment")
    assert areas[int(first)] == max(areas), "sorted by area"
    page.page.select_option('[data-part="sort"]', "predicted_iou")
    scores = page.value("page.everything.segments.map((segment) => segment.predicted_iou)")
    first = page.page.get_attribute("[data-segment] >> nth=0", "data-segment")
    assert scores[int(first)] == max(scores)

    page.page.mouse.move(*page.place(*EYE))
    page.until("page.everything.hovered !== null")
    page.click(*EYE)
    index = page.value("[...page.everything.selected][0]")
    assert page.page.inner_text('[data-part="save-title"]') == "Save 1 selected"
    mask = page.save_mask()
    assert mask[EYE[1], EYE[0]]
    assert mask.sum() == areas[index]
    (annotation,) = page.save_json("coco")["annotations"]
    assert np.array_equal(decoded(annotation), mask)
    page.press("Escape")
    assert len(page.save_json("coco")["annotations"]) == count


def test_everything_can_be_canceled(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.page.click('[role="tab"][data-tab="everything"]')
    page.page.click('[data-mode="exact"]')
    page.page.click('[data-do="everything"]')
    page.until("page.part('count').textContent.includes('candidates')")
    page.page.click('[data-do="cancel"]')
    page.until("page.part('count').textContent.includes('before you canceled')")
    assert page.page.is_visible('[data-do="everything"]')
    count = int(page.page.inner_text('[data-part="count"]').split()[0])
    assert page.value("page.everything.segments.length") == count
