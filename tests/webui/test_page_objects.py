"""The list of objects with labels, in a real browser: kept, edited, removed, undone, saved and read by other tools."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import skimage.filters
import skimage.measure
import skimage.segmentation
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage

from tests import photos

pytestmark = [
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in pycocotools
]

EYE, EAR, NOSE = (172, 107), (105, 60), (300, 150)
OpenPage = Callable[..., Any]


def keep(page: Any, label: str | None = None) -> None:
    """Keep the mask with the key, and write its label unless None, which leaves the one that is offered."""
    count = len(page.objects)
    page.page.keyboard.press("k")
    page.until(f"state.doc.objects.length === {count + 1} && document.activeElement.matches('[data-object] input')")
    if label is not None:
        page.page.keyboard.type(label)
    page.page.keyboard.press("Enter")
    page.settle()


def masks_of(coco: dict[str, Any]) -> list[Any]:
    return [coco_mask.decode(annotation["segmentation"]).astype(bool) for annotation in coco["annotations"]]


def names(page: Any) -> list[str]:
    return [each["label"] for each in page.objects]


def test_objects_are_kept_edited_removed_and_undone(open_page: OpenPage, cat: Path, expected: Any) -> None:
    image = photos.photo("chelsea")
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    eye = page.save_mask()
    keep(page, "eye")
    assert page.prompt == {"points": [], "box": None}
    page.click(*NOSE)
    nose = page.save_json("coco")
    assert [np.array_equal(mask, eye) for mask in masks_of(nose)] == [True, False], "with the mask that is not kept yet"
    keep(page)
    assert names(page) == ["eye", "eye"], "the last label is offered"
    label = page.page.locator('[data-object="2"] input')
    label.fill("  nose ")
    label.press("Enter")
    assert names(page) == ["eye", "nose"]
    assert page.page.evaluate("() => document.activeElement.dataset.part") == "canvas"
    assert page.page.inner_text('[data-part="save-title"]') == "Save 2 objects"
    options = page.page.eval_on_selector_all("#mobilesam-labels option", "all => all.map((one) => one.value)")
    assert options == ["nose", "eye"]

    page.page.click('[data-edit="1"]')
    page.settle()
    assert page.prompt["points"] == [[*EYE, 1]]
    assert page.page.inner_text('[data-do="keep"]') == "Done"
    page.click(*EAR, button="right")
    assert len(page.save_json("coco")["annotations"]) == 2, "the one that is edited is saved once"
    page.press("k")
    page.until("state.doc.editing === null")
    both = page.save_json("coco")
    names_of = {each["id"]: each["name"] for each in both["categories"]}
    assert [names_of[each["category_id"]] for each in both["annotations"]] == ["eye", "nose"]
    changed, kept = masks_of(both)
    assert np.array_equal(kept, masks_of(nose)[1])
    assert np.array_equal(changed, expected(image, [(*EYE, 1), (*EAR, 0)]))

    page.page.keyboard.press("Escape")
    page.page.hover('[data-object="2"]')
    page.page.click('[data-remove="2"]')
    page.settle()
    assert names(page) == ["eye"]
    for count, more in ((2, 0), (2, 0), (2, 0)):
        page.press("z")
        assert (len(page.objects), len(page.prompt["points"]) >= more) == (count, True)
    while page.page.is_enabled('[data-do="undo"]'):
        page.press("z")
    assert page.objects == []
    while page.page.is_enabled('[data-do="redo"]'):
        page.press("y")
    assert names(page) == ["eye"]


def test_delete_removes_the_object_with_the_focus(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    for place, label in ((EYE, "eye"), (NOSE, "nose")):
        page.click(*place)
        keep(page, label)
    page.page.focus('[data-edit="1"]')
    assert page.value("state.pointedObject") == 1
    page.page.keyboard.press("ArrowDown")
    page.press("Delete")
    assert names(page) == ["eye"]
    page.click(*NOSE)
    page.press("Backspace")
    assert names(page) == ["eye"], "while an object is marked, the key has no row to remove"


def test_segments_are_kept_as_objects(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.segment_everything()
    page.page.click("[data-segment] >> nth=0")
    page.page.click("[data-segment] >> nth=2")
    selected = page.save_json("coco")
    page.page.click('[data-do="keep"]')
    page.until("state.doc.objects.length === 2")
    page.page.click('[data-do="everything"]')
    page.until("!state.progress")
    page.page.click('[role="tab"][data-tab="prompt"]')
    page.page.fill('[data-object="2"] input', "fur")
    page.page.keyboard.press("Enter")
    page.click(*EYE)
    saved = page.save_json("coco")
    assert len(saved["annotations"]) == 3
    wanted = sorted(mask.sum() for mask in masks_of(selected))
    assert sorted(mask.sum() for mask in masks_of(saved)[:2]) == wanted, "kept, although the run was repeated"
    assert page.page.get_attribute('[data-edit="1"]', "aria-label") == "Show object 1"


def test_a_reload_keeps_the_objects_and_what_can_be_undone(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    keep(page, "eye")
    page.click(*NOSE)
    before = page.save_json("coco")
    page.page.reload()
    page.page.wait_for_selector('.mobilesam[data-state="ready"]')
    page.settle()
    assert names(page) == ["eye"]
    after = page.save_json("coco")
    assert [np.array_equal(*pair) for pair in zip(masks_of(before), masks_of(after), strict=True)] == [True, True]
    page.press("z")
    page.press("z")
    page.press("z")
    assert (page.objects, page.prompt["points"]) == ([], [[*EYE, 1]])


@pytest.mark.parametrize(
    "label", ['<img src=x onerror="window.hacked = 1">', "x" * 10_000, "  \t ", "Kätzchen 猫 ../../etc", "=1+1"]
)
def test_a_strange_label_is_text_and_nothing_else(label: str, open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    page.page.keyboard.press("k")
    page.until("document.activeElement.matches('[data-object] input')")
    page.page.keyboard.insert_text(label)
    page.page.keyboard.press("Enter")
    page.settle()
    (kept,) = names(page)
    assert kept == " ".join(label.split())[:100]
    assert page.message == ("A label has at most 100 characters. This one was cut." if len(label) > 100 else "")
    page.page.reload()
    page.page.wait_for_selector('.mobilesam[data-state="ready"]')
    page.settle()
    (category,) = page.save_json("coco")["categories"]
    assert category["name"] == (kept or "object")
    archive = zipfile.ZipFile(io.BytesIO(page.save("all").read_bytes()))
    assert all(not name.startswith("/") and ".." not in Path(name).parts for name in archive.namelist())
    assert page.value("window.hacked === undefined && document.images.length >= 0")


def test_the_three_masks_are_named_and_the_suggested_one_is_chosen(
    open_page: OpenPage, cat: Path, predictor: Any, expected: Any
) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    rows = page.page.locator("[data-candidate]")
    assert [row.locator("b").inner_text() for row in rows.all()] == ["Part", "Whole", "Larger"]
    (suggested,) = page.page.locator("[data-suggested]").all()
    assert suggested.get_attribute("aria-checked") == "true"
    predictor.set_image(photos.photo("chelsea"))
    one = predictor.predict_one([EYE], [1])
    assert float(suggested.locator("span").inner_text()) == pytest.approx(float(one.confidence[0]), abs=0.006)
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), [(*EYE, 1)]))
    areas = []
    for key in "123":
        page.press(key)
        areas.append(int(page.save_mask().sum()))
    assert areas == sorted(areas)
    name = suggested.locator("b").inner_text()
    page.click(183, 107)
    page.press("z")
    assert page.prompt["chosen"] is not None
    (again,) = page.page.locator("[data-suggested]").all()
    assert again.locator("b").inner_text() == name, "a choice that undo brings back is no suggestion"
    page.page.wait_for_function(
        "() => [...document.querySelectorAll('[data-candidate] canvas')].every((c) => c.width > 100)"
    )


def test_clean_masks_have_no_specks_and_no_holes(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.click(*NOSE)
    page.press("3")
    plain = page.save_mask()
    page.page.check('[data-part="clean"]')
    page.settle()
    cleaned = page.save_mask()
    least = plain.size / 1000
    for part in (cleaned, ~cleaned):
        parts, count = ndimage.label(part, np.ones((3, 3)))
        assert (ndimage.sum(part, parts, range(1, count + 1)) >= least).all()
    assert (plain ^ cleaned).sum() < 0.02 * plain.size
    page.page.uncheck('[data-part="clean"]')
    page.settle()
    assert np.array_equal(page.save_mask(), plain)


def test_twenty_coins_are_annotated_saved_once_and_read_by_other_tools(open_page: OpenPage, tmp_path: Path) -> None:
    import supervision

    from mobilesam.formats import read_labelme
    from mobilesam.masks import rle

    coins = skimage.data.coins()
    path = tmp_path / "images" / "coins.png"
    path.parent.mkdir()
    Image.fromarray(coins).save(path)
    seeds = np.where(coins < 30, 1, np.where(coins > 150, 2, 0))
    bright = skimage.segmentation.watershed(skimage.filters.sobel(coins), seeds) == 2
    whole = ndimage.binary_opening(ndimage.binary_fill_holes(bright), iterations=3)
    regions = [each for each in skimage.measure.regionprops(skimage.measure.label(whole)) if each.area > 300]
    regions.sort(key=lambda region: -region.area)
    page = open_page()
    page.open(path)
    page.page.check('[data-part="clean"]')
    for index, region in enumerate(regions[:20]):
        y1, x1, y2, x2 = region.bbox
        page.drag(max(x1 - 2, 0), max(y1 - 2, 0), x2 + 1, y2 + 1)
        keep(page, "large coin" if index < 4 else "coin" if index == 4 else None)
    assert names(page) == ["large coin"] * 4 + ["coin"] * 16
    shown = page.value("state.doc.objects.map(({ mask }) => mask.segmentation)")
    masks = [coco_mask.decode({**each, "counts": each["counts"].encode()}).astype(bool) for each in shown]
    archive = zipfile.ZipFile(io.BytesIO(page.save("all").read_bytes()))
    assert len(set(archive.namelist())) == len(archive.namelist())
    archive.extractall(tmp_path / "saved")
    saved = tmp_path / "saved"

    coco = COCO(saved / "coins.coco.json")
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [np.array_equal(coco.annToMask(each) == 1, mask) for each, mask in zip(annotations, masks, strict=True)] == [
        True
    ] * 20
    assert {each["name"] for each in coco.loadCats(coco.getCatIds())} == {"large coin", "coin"}

    read = [rle.rle_to_mask(record["segmentation"]) for record in read_labelme(saved / "coins.json").records]
    assert [np.array_equal(*pair) for pair in zip(read, masks, strict=True)] == [True] * 20
    document = json.loads((saved / "coins.json").read_text())
    assert {shape["label"] for shape in document["shapes"]} == {"large coin", "coin"}

    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "coins.txt").write_bytes((saved / "coins.txt").read_bytes())
    dataset = supervision.DetectionDataset.from_yolo(
        str(path.parent), str(labels), str(saved / "data.yaml"), force_masks=True
    )
    (_, _, detections), *_ = dataset
    assert len(detections) == 20
    assert dataset.classes == ["large coin", "coin"]
    for mask, other in zip(masks, detections.mask, strict=True):
        assert np.array_equal(mask, other)

    instances = np.asarray(Image.open(saved / "coins.instances.png"))
    assert sorted(np.unique(instances).tolist()) == list(range(21))
    pngs = sorted(saved.glob("masks/*.png"))
    assert len(pngs) == 20
    assert sorted(int((np.asarray(Image.open(png)) > 0).sum()) for png in pngs) == sorted(
        int(mask.sum()) for mask in masks
    )


def test_nothing_is_saved_without_a_mask_that_could_not_be_decoded(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    keep(page, "eye")
    page.page.route("**/service/predict", lambda route: route.fulfill(status=502, body="<html>Bad gateway</html>"))
    page.click(*NOSE)
    assert page.message == "The proxy does not reach the server. Try again in a moment."
    assert page.prompt["points"] == [[*NOSE, 1]], "the click is kept"
    page.page.click('[data-save="coco"]')
    page.until("state.message?.text.startsWith('The masks of this prompt are missing.')")
    page.page.unroute("**/service/predict")
    page.page.click('[data-do="retry"]')
    page.settle()
    assert len(page.save_json("coco")["annotations"]) == 2
    page.problems[:] = [problem for problem in page.problems if "502" not in problem]


def test_objects_that_are_marked_and_kept_in_a_hurry_stay_apart(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    held: list[Any] = []
    page.page.route("**/service/freeze", lambda route: held.append(route))
    places = (EYE, NOSE, EAR)
    for place in places:
        page.page.mouse.click(*page.place(*place))
        page.page.keyboard.press("k")
    page.page.mouse.click(*page.place(220, 200))
    for count in (1, 2, 3):
        while not held:
            page.page.wait_for_timeout(50)
        held.pop().continue_()
        page.until(f"state.doc.objects.length === {count}")
    page.page.unroute("**/service/freeze")
    page.settle()
    assert [each["prompt"]["points"] for each in page.objects] == [[[*place, 1]] for place in places]
    page.until("state.doc.prompt.points.length === 1")
    assert page.prompt["points"] == [[220, 200, 1]]
    assert page.page.evaluate("() => document.activeElement.dataset.part") == "canvas", "the user has clicked on"


def test_another_image_and_back_brings_the_objects_back(open_page: OpenPage, cat: Path, photo: Any) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    keep(page, "eye")
    page.open(photo("coffee.png"))
    assert names(page) == []
    page.click(300, 150)
    keep(page, "coffee")
    page.open(cat)
    assert names(page) == ["eye"]
    page.open(photo("coffee.png"))
    assert names(page) == ["coffee"]


def test_the_focus_goes_to_the_next_row_of_one_that_is_removed(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    for place, label in ((EYE, "eye"), (NOSE, "nose"), (EAR, "ear")):
        page.click(*place)
        keep(page, label)
    page.page.click('[data-edit="1"]')
    page.settle()
    page.page.focus('[data-edit="2"]')
    page.press("Delete")
    assert names(page) == ["eye", "ear"], "the row with the focus, not the one that is edited"
    focused = "() => document.activeElement.dataset.edit ?? document.activeElement.dataset.part"
    assert page.page.evaluate(focused) == "3"
    page.press("Delete")
    assert page.page.evaluate(focused) == "1"
    page.press("Delete")
    assert page.page.evaluate(focused) == "canvas"
