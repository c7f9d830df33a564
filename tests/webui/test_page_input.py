"""Good and bad files: a message appears for a bad one, and the earlier image stays."""

from __future__ import annotations

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
OpenPage = Callable[..., Any]


def test_a_bad_file_gets_a_message_and_the_earlier_image_stays(
    open_page: OpenPage, cat: Path, expected: Any, tmp_path: Path
) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    files = {name: tmp_path / name for name in ("notes.jpg", "half.jpg", "empty.png", "vast.png", "heavy.png")}
    files["notes.jpg"].write_text("not an image at all\n")
    Image.fromarray(photos.photo("chelsea")).save(files["half.jpg"])
    files["half.jpg"].write_bytes(files["half.jpg"].read_bytes()[:9000])
    files["empty.png"].touch()
    Image.new("1", (5000, 4200)).save(files["vast.png"])
    files["heavy.png"].write_bytes(bytes(31_000_000))
    messages = {
        "notes.jpg": "notes.jpg is not an image. ",
        "half.jpg": "half.jpg is damaged or incomplete. ",
        "empty.png": "empty.png is empty. ",
        "vast.png": "vast.png has 5000 x 4200 = 21 million pixels. ",
        "heavy.png": "heavy.png has 31 MB. This server accepts files of at most 30 MB.",
    }
    for name, message in messages.items():
        assert page.offer(files[name]).startswith(message)
        assert page.value("state.phase") == "ready"
        assert page.value("state.image.name") == "chelsea.png"
    page.page.click('[data-do="dismiss"]')
    assert page.message == ""
    page.click(300, 150)
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), [(*EYE, 1), (300, 150, 1)]))


def test_a_bad_first_file_leaves_the_invitation(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    page = open_page()
    assert page.offer(tmp_path / "notes.txt").startswith("notes.txt is not an image. ")
    assert page.page.is_visible('[data-part="invite"]')
    page.page.mouse.click(400, 100)
    assert page.prompt == {"points": [], "box": None}


@pytest.mark.parametrize("kind", ["sixteen bits", "animated", "transparent", "with a strange name"])
def test_unusual_images_are_opened(kind: str, open_page: OpenPage, expected: Any, tmp_path: Path) -> None:
    cat, path = photos.photo("chelsea"), tmp_path / "cat.png"
    if kind == "sixteen bits":
        Image.fromarray(cat[..., 1].astype(np.uint16) * 257).save(path)
    elif kind == "animated":
        path = path.with_suffix(".gif")
        frames = [Image.fromarray(cat), Image.fromarray(255 - cat)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif kind == "transparent":
        Image.fromarray(np.dstack([cat, np.full(cat.shape[:2], 255, np.uint8)])).save(path)
    else:
        path = tmp_path / "Kätzchen 猫 %20'\";&.png"
        Image.fromarray(cat).save(path)
    page = open_page()
    page.open(path)
    assert page.message == ("The first of 2 frames is shown." if kind == "animated" else "")
    page.click(*EYE)
    assert np.array_equal(page.save_mask(), expected(read_image(path), [(*EYE, 1)]))
    if kind == "with a strange name":
        assert page.saved_as == "Kätzchen 猫 %20';&.mask.png"


def test_an_image_is_dropped_and_pasted(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    give = """([name, kind]) => {
      const data = new DataTransfer();
      data.items.add(new File([window.given], name, { type: "image/png" }));
      document.dispatchEvent(kind === "drop"
        ? new DragEvent("drop", { dataTransfer: data, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: data }));
    }"""
    page.page.evaluate("bytes => { window.given = new Uint8Array(bytes); }", list(cat.read_bytes()))
    for name, kind in (("dropped.png", "drop"), ("pasted.png", "paste")):
        page.page.evaluate(give, [name, kind])
        page.until(f"state.image?.name === '{name}'")
        page.settle()


def test_the_last_of_several_images_is_shown(open_page: OpenPage, cat: Path, photo: Any, expected: Any) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    for path in (photo("coffee.png"), cat, photo("coffee.png")):
        page.page.set_input_files('[data-part="file"]', path)
    page.settle()
    assert page.value("state.image.name") == "coffee.png"
    assert page.prompt == {"points": [], "box": None}
    page.click(300, 150)
    assert np.array_equal(page.save_mask(), expected(photos.photo("coffee"), [(300, 150, 1)]))


def test_the_sample_photos_open(open_page: OpenPage) -> None:
    page = open_page()
    samples = page.page.locator("[data-sample]")
    assert samples.count() == 4
    assert all(page.page.evaluate("() => [...document.images].map((image) => image.naturalWidth > 0)"))
    samples.first.click()
    page.until("state.image && state.phase === 'ready'")
    page.click(*page.value("[state.image.width / 2, state.image.height / 2]"))
    assert len(page.masks) == 3
