"""A mask that is chosen on the page and then refined: undone, redone, saved, and replayed by the commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import photos

pytestmark = [
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in pycocotools
]

EYE, INSIDE, WALL = (172, 107), (183, 107), (430, 40)
SERVER_FUNCTIONS = re.compile("/component_server")
OpenPage = Callable[..., Any]


def iou(one: Any, other: Any) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def choose(page: Any, index: int) -> Any:
    """Choose a mask by the decoder's own index, with the keys, and return it."""
    for key in "123":
        page.press(key)
        if page.prompt.get("chosen") == index:
            return page.save_mask()
    raise AssertionError(f"mask {index} is not offered")


def test_the_page_keeps_a_choice_and_both_commands_replay_it(
    open_page: OpenPage, cat: Path, command: Any, tmp_path: Path
) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    chosen = choose(page, 2)
    page.click(*INSIDE)
    refined = page.save_mask()
    assert iou(refined, chosen) > 0.95
    assert page.page.inner_text('[data-part="mask-hint"]') == "This mask refines the one that you chose."
    page.press("z")
    assert page.prompt["chosen"] == 2
    assert np.array_equal(page.save_mask(), chosen)
    page.press("y")
    assert np.array_equal(page.save_mask(), refined)
    page.click(*WALL, button="right")
    mask = page.save_mask()
    assert iou(mask, chosen) > 0.9

    prompts = tmp_path / "p.json"
    prompts.write_bytes(page.save("prompts").read_bytes())
    document = json.loads(prompts.read_text())
    first, last = [[*EYE, 1]], [[*EYE, 1], [*INSIDE, 1], [*WALL, 0]]
    steps = {"steps": [{"points": first, "chosen": 2}, {"points": last}]}
    assert document == {"version": 2, "images": {"chelsea.png": [steps]}}
    options = ("--prompts", prompts, "--backend", "onnx", "--format", "mask")
    for name, more in (("predict", ()), ("batch", ("--workers", 1))):
        outcome = command(name, cat, *options, "--out", tmp_path / name, *more)
        assert outcome.code == 0, outcome.err
        (written,) = (tmp_path / name).rglob("*.png")
        assert np.array_equal(np.asarray(Image.open(written)) == 255, mask), name

    page.page.reload()
    page.page.wait_for_selector('.mobilesam[data-state="ready"]')
    assert page.prompt == {
        "points": last,
        "box": None,
        "steps": [{"points": first, "box": None, "steps": [], "chosen": 2}],
        "chosen": None,
    }
    page.settle()
    assert np.array_equal(page.save_mask(), mask)
    page.press("z")
    page.press("z")
    page.press("z")
    assert page.page.is_disabled('[data-save="prompts"]')


def test_the_endpoint_gives_the_masks_of_the_commands(server: Any, cat: Path, predictor: Any) -> None:
    from mobilesam.image.read import read_image
    from mobilesam.masks import rle
    from mobilesam.segment import segment_objects
    from tests.robustness.test_prompts_steps import MIXED
    from tests.webui.test_endpoints import connect, encode, pixels

    client, plain = connect(server.url), [prompt for prompt in MIXED if not prompt.steps and prompt.chosen is None]
    session = encode(client, cat)["session"]
    model = predictor.mask_model
    for prompt, (record,) in zip(plain, segment_objects(model, model.encode(read_image(cat)), plain), strict=True):
        points = [[*place, label] for place, label in zip(prompt.points, prompt.labels, strict=True)]
        best = client.predict(session, points, prompt.box, api_name="/predict")["masks"][0]
        assert np.array_equal(pixels(best), rle.rle_to_mask(record["segmentation"]))
    with pytest.raises(Exception, match="a prompt must have a foreground point or a box, got background points alone"):
        client.predict(session, [[*WALL, 0]], None, api_name="/predict")


def test_a_choice_survives_an_expired_session(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    choose(page, 2)
    page.click(*INSIDE)
    refined, prompt = page.save_mask(), page.prompt
    page.page.evaluate("() => { pageOf().engine.token = 'unknown'; }")
    page.click(*WALL, button="right")
    assert len(page.prompt["points"]) == 3
    page.press("z")
    assert page.prompt == prompt
    assert np.array_equal(page.save_mask(), refined)
    page.problems[:] = [problem for problem in page.problems if "410" not in problem]


def test_background_first_waits_for_the_object(open_page: OpenPage, cat: Path, expected: Any) -> None:
    page = open_page()
    page.open(cat)
    page.click(*WALL, button="right")
    assert page.prompt == {"points": [[*WALL, 0]], "box": None}
    assert page.masks == []
    assert page.status == "Now mark the object"
    assert "Now click the object with the tool Object, or drag a box around it." in page.page.inner_text(
        '[data-part="mask-hint"]'
    )
    assert page.page.is_disabled('[data-save="mask"]')
    page.page.reload()
    page.page.wait_for_selector('.mobilesam[data-state="ready"]')
    assert page.status == "Now mark the object"
    page.click(*EYE)
    assert page.status == ""
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), [(*WALL, 0), (*EYE, 1)]))
    page.press("z")
    assert page.status == "Now mark the object"
    page.drag(420, 290, 40, 10)
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), [(*WALL, 0)], [40, 10, 420, 290]))
    page.press("Escape")
    assert page.status == ""


def test_a_save_waits_for_the_masks_that_are_on_their_way(open_page: OpenPage, cat: Path, expected: Any) -> None:
    page = open_page()
    page.open(cat)
    page.click(*EYE)
    held: list[Any] = []
    page.page.route("**/service/predict", lambda route: held.append(route))
    saves: list[str] = []
    page.page.on("request", lambda request: saves.append(request.url) if "/save/" in request.url else None)
    page.page.mouse.click(*page.place(300, 150))
    page.until("state.decoding")
    with page.page.expect_download() as download:
        page.page.click('[data-save="mask"]')
        page.value("new Promise((resolve) => setTimeout(resolve, 100))")
        assert saves == []
        for route in held:
            route.continue_()
        page.page.unroute("**/service/predict")
    mask = np.asarray(Image.open(download.value.path())) == 255
    assert np.array_equal(mask, expected(photos.photo("chelsea"), [(*EYE, 1), (300, 150, 1)]))


def test_an_error_at_the_start_is_shown_and_the_token_stays(open_page: OpenPage, cat: Path) -> None:
    page = open_page()
    before = page.value("sessionStorage.getItem('mobilesam-session')")
    refusal = {"error": "The server is busy: 32 requests are waiting. Try again in a moment.", "expired": False}
    page.page.route(SERVER_FUNCTIONS, lambda route: route.fulfill(json=refusal))
    page.page.reload()
    page.page.wait_for_function("() => document.querySelector('.mobilesam')?.page?.store.seen.message")
    assert "The server is busy: 32 requests are waiting." in page.message
    assert page.value("sessionStorage.getItem('mobilesam-session')") == before
