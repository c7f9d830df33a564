"""The page with the model in its own tab: without a server, and with one that only encodes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from benchmarks.page_client import Client
from benchmarks.site_server import iou, serving
from mobilesam import segment
from mobilesam.masks import rle
from mobilesam.masks.upsampling import Frame
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.webui.masks import cleaned
from tests import photos
from tests.robustness.server_client import serving as serving_page
from tests.webui.conftest import Page

pytestmark = [
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in pycocotools
]

EYE, EAR, NOSE = (172, 107), (105, 60), (300, 150)
BOX = (60, 20, 300, 260)
Mask = npt.NDArray[np.bool_]


@pytest.fixture(scope="module", params=[False, True], ids=["one thread", "isolated"])
def address(request: pytest.FixtureRequest, float32_site: Path) -> Iterator[str]:
    with serving(float32_site, isolated=request.param) as served:
        yield served


@pytest.fixture
def page(open_page: Callable[..., Page], address: str, request: pytest.FixtureRequest) -> Page:
    """The page without its service worker, which isolates it."""
    opened = open_page(address, service_workers="block")
    assert opened.page.evaluate("crossOriginIsolated") is ("isolated" in request.node.name)
    return opened


@pytest.fixture(scope="module")
def reference(predictor: Any) -> Callable[..., tuple[segment.Candidates, Frame]]:
    """The candidate masks that Python offers for a prompt."""

    def candidates(image: Any, prompt: ObjectPrompt) -> tuple[segment.Candidates, Frame]:
        embedding = predictor.model.encode(image)
        (decoded,) = segment.decode(predictor.model, embedding, [prompt])
        shown = decoded.only if prompt.boxed else decoded.three
        return shown(prompt.chosen), Frame(embedding.input_hw, embedding.original_hw, predictor.model.image_size)

    return candidates


def mask_of_record(model: Any, prompt: ObjectPrompt, candidates: segment.Candidates, place: int, frame: Frame) -> Any:
    return segment.record_of(prompt, candidates, place, frame, model.mask_threshold)


def same(page: Page, mask: Mask) -> bool:
    return iou(page.save_mask(), mask) >= 0.999


def test_candidates_are_those_of_python(page: Page, cat: Path, reference: Any, predictor: Any) -> None:
    image = photos.photo("chelsea")
    page.open(cat)
    sent = len(page.requests)
    cases = [
        ([EYE], None),
        ([NOSE], None),
        ([EYE, EAR], None),
        ([], BOX),
        ([EYE], BOX),
    ]
    for points, box in cases:
        for point in points:
            page.click(*point)
        if box:
            page.drag(*box)
        drawn = page.prompt["box"]
        prompt = ObjectPrompt(tuple(points), (1,) * len(points), drawn and tuple(drawn))
        expected, frame = reference(image, prompt)
        assert [mask["index"] for mask in page.masks] == list(expected.indices)
        assert page.value("state.decoded.prediction.best") == expected.best
        ious = [mask["predicted_iou"] for mask in page.masks]
        assert ious == pytest.approx(expected.iou_predictions.tolist(), abs=1e-3)
        confidences = [mask["confidence"] for mask in page.masks]
        if expected.confidences is None:
            assert confidences == [None] * len(ious)
        else:
            assert confidences == pytest.approx(expected.confidences.tolist(), abs=1e-3)
        record = mask_of_record(predictor.model, prompt, expected, expected.best, frame)
        assert same(page, rle.rle_to_mask(record["segmentation"]))
        page.page.check('[data-part="clean"]')
        page.settle()
        assert same(page, rle.rle_to_mask(cleaned(record, image.shape[:2])["segmentation"]))
        page.page.uncheck('[data-part="clean"]')
        page.settle()
        page.press("Escape")
    requests = {url for url in page.requests[sent:] if not url.startswith("blob:")}
    assert all(url.endswith(".js") for url in requests), "of the scripts that write files; nothing is sent"


def test_a_chosen_mask_is_refined(page: Page, cat: Path, reference: Any, predictor: Any) -> None:
    image = photos.photo("chelsea")
    page.open(cat)
    page.click(*EYE)
    page.press("3")
    chosen = page.prompt["chosen"]
    page.click(*NOSE)
    step = ObjectPrompt((EYE,), (1,), chosen=chosen)
    prompt = ObjectPrompt((EYE, NOSE), (1, 1), steps=(step,))
    expected, frame = reference(image, prompt)
    assert [mask["index"] for mask in page.masks] == list(expected.indices)
    record = mask_of_record(predictor.model, prompt, expected, expected.best, frame)
    assert same(page, rle.rle_to_mask(record["segmentation"]))


def test_objects_and_segments_are_saved_and_come_back(page: Page, cat: Path) -> None:
    page.open(cat)
    page.click(*EYE)
    mask = page.save_mask()
    page.page.keyboard.press("k")
    page.until("state.doc.objects.length === 1 && document.activeElement.matches('[data-object] input')")
    page.page.keyboard.type("eye")
    page.page.keyboard.press("Enter")
    page.settle()
    page.segment_everything("fast")
    count = page.value("state.run.segments.length")
    assert count > 3
    assert len(page.save_json("coco")["annotations"]) == count
    assert "server" not in page.page.inner_text('[data-part="timing"]')
    wrong_run = "pageOf().engine.freeze(pageOf().store.state.image, { run: 0, segments: [0] })"
    refusal = page.page.evaluate(f"() => {wrong_run}.catch(({{ message }}) => message)")
    assert refusal == "These segments are not those of the last run. Segment everything again."
    page.page.click('[data-segment="0"]')
    page.press("k")
    page.until("state.doc.objects.length === 2")
    page.page.click('[role="tab"][data-tab="prompt"]')
    coco = page.save_json("coco")
    assert [each["name"] for each in coco["categories"]] == ["eye"]
    masks = [coco_mask.decode(each["segmentation"]).astype(bool) for each in coco["annotations"]]
    assert np.array_equal(masks[0], mask)
    assert len(masks) == 2
    assert page.value("page.root.querySelector('[data-save=\"parquet\"]').hidden")
    page.page.reload()
    page.page.wait_for_selector('.mobilesam[data-state="ready"]')
    assert [each["label"] for each in page.objects] == ["eye", "eye"]
    page.click(*EYE)
    *_, last = page.save_json("coco")["annotations"]
    assert np.array_equal(coco_mask.decode(last["segmentation"]).astype(bool), mask)
    assert page.value("state.image.name") == "chelsea.png"


def test_a_click_is_decoded_during_a_run(page: Page, cat: Path) -> None:
    page.open(cat)
    page.page.click('[role="tab"][data-tab="everything"]')
    page.page.click('[data-mode="exact"]')
    page.page.click('[data-do="everything"]')
    page.until("state.progress && state.progress.share > 0")
    page.page.click('[role="tab"][data-tab="prompt"]')
    page.page.mouse.click(*page.place(*EYE))
    page.until("state.decoded && state.progress && state.progress.share < 0.9")
    page.page.click('[role="tab"][data-tab="everything"]')
    page.page.click('[data-do="everything"]')
    page.until("state.run && !state.progress")
    assert page.value("state.run.partial")


def test_files_that_cannot_be_opened(page: Page, cat: Path, photo: Any, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("not an image")
    page.open(cat)
    page.page.set_input_files('[data-part="file"]', photo("coffee.png"))  # ended by the next file
    assert (
        page.offer(text)
        == "notes.jpg: Image must be one that the browser can decode, got notes.jpg; open a JPEG, PNG or WebP"
    )
    page.page.click('[data-do="dismiss"]')
    large = tmp_path / "large.png"
    Image.new("1", (20000, 10001)).save(large)
    assert "at most 200 million pixels, got 20000 x 10001; resize it first" in page.offer(large)
    page.page.click('[data-do="dismiss"]')
    page.click(*EYE)
    assert len(page.masks) == 3, "the earlier image stays"


def test_a_photo_of_24_megapixels(page: Page, tmp_path: Path, expected: Any) -> None:
    pixels = Image.fromarray(photos.photo("coffee")).resize((6000, 4000))
    pixels.save(tmp_path / "large.png", compress_level=1)
    page.open(tmp_path / "large.png")
    page.click(3000, 1500)
    assert same(page, expected(np.asarray(pixels), [(3000, 1500, 1)]))


def test_a_damaged_model_is_named(browser: Any, float32_site: Path, tmp_path: Path) -> None:
    site = Path(shutil.copytree(float32_site, tmp_path / "site"))
    graph = site / "weights" / "score.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"?")
    with serving(site) as served:
        page = Page(browser, served)
        page.until("state.message")
        assert "weights/score.onnx is damaged or of another version" in page.message
        page.context.close()


def test_it_works_offline_and_isolates_itself(browser: Any, float32_site: Path, cat: Path) -> None:
    with serving(float32_site) as served:
        page = Page(browser, served)
        assert page.page.evaluate("crossOriginIsolated"), "by the service worker"
        page.open(cat)
        page.click(*EYE)
        mask = page.save_mask()
    page.context.set_offline(True)
    page.page.reload()
    page.page.wait_for_selector('.mobilesam[data-state="ready"]')
    page.press("Escape")
    page.click(*EYE)
    assert np.array_equal(page.save_mask(), mask)
    page.close()


@pytest.fixture(scope="module")
def plain(float32_site: Path) -> Iterator[str]:
    with serving(float32_site) as served:
        yield served


@pytest.mark.parametrize("place", ["tab", "server"])
def test_a_browser_without_session_storage(
    place: str, open_page: Callable[..., Page], cat: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("server").url if place == "server" else request.getfixturevalue("plain")
    page = open_page(url)
    page.page.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('', 'SecurityError'); } });"
    )
    page.page.reload()
    page.page.wait_for_selector('.mobilesam[data-state="empty"]')
    page.open(cat)
    page.click(*EYE)
    page.page.keyboard.press("k")
    page.until("state.doc.objects.length === 1")
    assert page.message == "The browser has no room to keep these objects. Save them before you reload the page."


@pytest.fixture(scope="module")
def hybrid(float32_site: Path) -> Iterator[Any]:
    """A server that lets tabs decode; the folder is written first, which fetches the runtime."""
    with serving_page("--decode", "tab", "--max-upload-mb", "100") as server:
        yield server


def click_in_tab(page: Page, x: float, y: float) -> None:
    """Click until the tab has the decoder and the embedding, and decodes the mask."""
    for _ in range(100):
        page.press("Escape")
        page.click(x, y)
        if page.value("state.decoded.prediction.place") == "tab":
            return
        page.page.wait_for_timeout(200)
    raise AssertionError("the server still decodes")


def test_clicks_cost_the_server_nothing(open_page: Callable[..., Page], hybrid: Any, cat: Path, expected: Any) -> None:
    page = open_page(hybrid.url)
    page.open(cat)
    click_in_tab(page, *EYE)
    assert "in this tab" in page.page.inner_text('[data-part="timing"]')
    sent = len(page.requests)
    page.press("Escape")
    page.page.mouse.move(*page.place(*NOSE))
    page.click(*NOSE)
    page.page.keyboard.press("k")
    page.until("state.doc.objects.length === 1")
    assert [url for url in page.requests[sent:] if not url.startswith("blob:")] == []
    page.page.keyboard.press("Enter")
    page.settle()
    (annotation,) = page.save_json("coco")["annotations"]
    mask = coco_mask.decode(annotation["segmentation"]).astype(bool)
    assert iou(mask, expected(photos.photo("chelsea"), [(*NOSE, 1)])) > 0.99, "float16 embeddings differ a little"


@pytest.mark.parametrize("fault", ["no WebAssembly", "damaged runtime"])
def test_the_server_decodes_where_the_tab_cannot(
    fault: str, open_page: Callable[..., Page], hybrid: Any, cat: Path, expected: Any
) -> None:
    page = open_page(hybrid.url)
    if fault == "no WebAssembly":
        page.page.add_init_script("delete window.WebAssembly")
    else:
        page.page.wait_for_load_state("networkidle")
        page.page.evaluate("caches.keys().then((names) => Promise.all(names.map((name) => caches.delete(name))))")
        page.context.route("**/*.wasm", lambda route: route.fulfill(body=b"damaged", content_type="application/wasm"))
    page.page.reload()
    page.page.wait_for_selector('.mobilesam[data-state="empty"]')
    page.open(cat)
    for _ in range(5):
        page.press("Escape")
        page.click(*EYE)
        assert page.value("state.decoded.prediction.place") is None
        page.page.wait_for_timeout(300)
    assert "on the server" in page.page.inner_text('[data-part="timing"]')
    assert np.array_equal(page.save_mask(), expected(photos.photo("chelsea"), [(*EYE, 1)]))
    page.problems.clear()


def test_decoders_and_embeddings_need_a_session(hybrid: Any, cat: Path, predictor: Any) -> None:
    client = Client(hybrid.url)
    client.hello()
    settings = client.call("hello")
    base = settings["decoders"][settings["model"]]
    assert client.request("GET", f"/{base}manifest.json").status_code == 200
    for address in (base.replace(base.split("/")[2], "guess"), base.replace(settings["model"], "absent")):
        response = client.request("GET", f"/{address}manifest.json")
        assert response.status_code == 400, response.text
    response = client.request("GET", f"/{base}encoder.onnx")
    assert response.status_code == 400
    assert response.json()["error"].startswith("the file must be one of")
    assert client.request("GET", "/service/embedding").status_code >= 400
    image = client.open(cat.read_bytes())["done"]["image"]
    headers = {"X-Session": client.token, "X-Image": image["key"]}
    content = client.request("GET", "/service/embedding", headers=headers).content
    halves = np.frombuffer(content, "<f2").reshape(1, 256, 64, 64).astype(np.float32)
    features = predictor.model.encode(photos.photo("chelsea")).features
    assert np.abs(halves - features).max() < 1e-3
