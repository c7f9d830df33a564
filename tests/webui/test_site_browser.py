"""The folder of ``mobilesam site`` in Chromium: the same masks as in Python, from the same pixels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from benchmarks.site_server import Tab, iou, logits_of, mask_of, serving
from mobilesam import SamAutomaticMaskGenerator, SamPredictor, load, samples
from mobilesam.masks import rle

pytestmark = [pytest.mark.weights, pytest.mark.slow]

PHOTOS = ("cat", "coffee", "astronaut", "rocket")


def photo(name: str) -> npt.NDArray[np.uint8]:
    with Image.open(Path(samples.__file__).with_name(f"{name}.jpg")) as image:
        return np.array(image.convert("RGB"))


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "isolated, two threads"])
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def tab(threads: int, browser: Any, float32_site: Path) -> Iterator[Tab]:
    with serving(float32_site, isolated=threads > 1) as address:
        opened = Tab(browser, address)
        assert opened.run("return crossOriginIsolated") is (threads > 1)
        opened.load(f"{{ threads: {threads} }}")
        yield opened
        assert opened.problems == []
        assert {url for url in opened.requests if not url.startswith((address, "blob:", "data:"))} == set()
        assert any(url.endswith("encoder.onnx") for url in opened.requests), "requests of the worker are recorded, too"
        opened.close()


@pytest.fixture(scope="module")
def predictor() -> SamPredictor:
    return SamPredictor(load(backend="onnx", device="cpu"))


def prompts(height: int, width: int) -> list[dict[str, Any]]:
    box = [width * 0.2, height * 0.2, width * 0.8, height * 0.9]
    return [
        {"points": [[width * 0.5, height * 0.5]], "labels": [1]},
        {"box": box},
        {"points": [[width * 0.5, height * 0.5], [width * 0.1, height * 0.1]], "labels": [1, 0], "box": box},
    ]


def compare(actual: dict[str, Any], expected: Any) -> None:
    hw = expected.masks.shape[1:]
    assert (actual["height"], actual["width"]) == hw
    for runs, mask in zip(actual["masks"], expected.masks, strict=True):
        assert iou(mask_of(runs, hw), mask) >= 0.999
    assert np.abs(np.array(actual["iouPredictions"]) - expected.iou_predictions).max() <= 1e-3
    for text, logits in zip(actual["logits"], expected.low_res_logits, strict=True):
        assert np.abs(logits_of(text) - logits).max() <= 1e-2


@pytest.mark.parametrize("name", PHOTOS)
def test_masks_of_points_and_boxes(tab: Tab, predictor: SamPredictor, name: str) -> None:
    image = photo(name)
    predictor.set_image(image)
    tab.run("await sam.setImage(await pixelsOf(given))", f"{name}.png")
    for prompt in prompts(*image.shape[:2]):
        arguments = {f"point_{name}": prompt.get(key) for name, key in (("coords", "points"), ("labels", "labels"))}
        expected = predictor.predict(**arguments, box=prompt.get("box"))
        actual = tab.run("return plain(await sam.predict(given))", prompt)
        compare(actual, expected)
        single = predictor.predict(**arguments, box=prompt.get("box"), multimask_output=False)
        compare(tab.run("return plain(await sam.predict({ ...given, multimask: false }))", prompt), single)
        one = predictor.predict_one(**arguments, box=prompt.get("box"))
        chosen = tab.run("return plain(await sam.predictOne(given))", prompt)
        compare(chosen, one)
        if one.confidence is None:
            assert chosen["confidence"] is None
        else:
            assert chosen["confidence"] == pytest.approx(one.confidence[0], abs=1e-3)
        refined = predictor.predict(**arguments, box=prompt.get("box"), mask_input=expected.low_res_logits[1:2])
        code = """
        const { lowResLogits: [, maskInput] } = await sam.predict({ ...given, multimask: true });
        return plain(await sam.predict({ ...given, maskInput }));
        """
        compare(tab.run(code, prompt), refined)


@pytest.mark.parametrize(("mode", "side"), [("exact", 10), ("balanced", 16), ("fast", 16)])
def test_everything(tab: Tab, mode: str, side: int) -> None:
    model = load(backend="onnx", device="cpu", threads=1)  # more would decode other points
    generator = SamAutomaticMaskGenerator(model, points_per_side=side, mode=mode, output_mode="uncompressed_rle")
    expected = generator.generate(photo("cat"))
    code = """
    await sam.setImage(await pixelsOf("cat.png"));
    const progress = [];
    const onProgress = (...values) => progress.push(values);
    const records = await sam.everything({ ...given, onProgress });
    return { records: [...records], partial: records.partial, progress };
    """
    result = tab.run(code, {"mode": mode, "pointsPerSide": side})
    assert not result["partial"]
    done, total, _ = result["progress"][-1]
    assert done == total
    assert len(result["records"]) == len(expected)
    for actual, record in zip(result["records"], expected, strict=True):
        boundaries = [rle.boundaries_of_rle(each["segmentation"]) for each in (actual, record)]
        assert rle.iou(*boundaries) >= 0.99
        assert actual.keys() == record.keys()
        assert actual["predicted_iou"] == pytest.approx(record["predicted_iou"], abs=1e-3)
        assert actual["stability_score"] == pytest.approx(record["stability_score"], abs=1e-3)
        assert (actual["point_coords"], actual["crop_box"]) == (record["point_coords"], record["crop_box"])
        assert actual["bbox"] == pytest.approx(record["bbox"], abs=1)


def test_an_aborted_run_gives_the_masks_so_far(tab: Tab) -> None:
    code = """
    await sam.setImage(await pixelsOf("cat.png"));
    const control = new AbortController();
    let last = 0;
    const onProgress = (done) => { last = done; if (done >= 8) control.abort(); };
    const records = await sam.everything({ signal: control.signal, onProgress });
    const aborted = await sam.everything({ signal: AbortSignal.abort() });
    return [records.partial, last, aborted.length, aborted.partial];
    """
    partial, last, length, aborted = tab.run(code)
    assert partial
    assert 8 <= last < 100
    assert (length, aborted) == (0, True)


def test_kinds_of_images(tab: Tab) -> None:
    code = """
    const bitmap = await pixelsOf("cat.png");
    const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const image = Object.assign(new Image(), { src: "cat.png" });
    const offscreen = new OffscreenCanvas(bitmap.width, bitmap.height);
    offscreen.getContext("2d").drawImage(bitmap, 0, 0);
    const results = [];
    for (const source of [context.getImageData(0, 0, canvas.width, canvas.height), canvas, image, offscreen, bitmap]) {
      await sam.setImage(source);
      results.push((await sam.predict({ points: [[200, 100]], labels: [1] })).iouPredictions);
    }
    return results;
    """
    results = tab.run(code)
    assert len(results) == 5
    assert all(result == results[0] for result in results)


def test_wrong_arguments_say_what_to_do(tab: Tab) -> None:
    tab.run("await sam.setImage(await pixelsOf('cat.png'))")
    assert tab.error("await sam.setImage(null)").startswith(
        "InputError: image must be an ImageBitmap, ImageData, canvas or <img>"
    )
    assert tab.error("await sam.setImage(Object.assign(new Image(), { src: 'manifest.json' }))").startswith(
        "InputError: image must be one that the browser can decode, got http"
    )
    assert tab.error("await sam.predict({ points: [[1, 2]] })").startswith("InputError: points must come with labels")
    assert tab.error("await sam.everything({ mode: 'quick' })") == (
        "InputError: mode must be one of exact, balanced, fast, got 'quick'; choose one of them"
    )
    assert tab.error("await sam.everything({ pointsPerSide: 0 })").startswith(
        "InputError: pointsPerSide must be a whole number"
    )
    assert tab.run("return (await sam.predict({ points: [[1, 2]], labels: [1] })).width") == 451, "the image stays"


def test_a_model_that_is_not_ready(browser: Any, float32_site: Path, tmp_path: Path) -> None:
    site = Path(shutil.copytree(float32_site, tmp_path / "site"))
    graph = site / "weights" / "image.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"?")
    (site / "old").mkdir()
    (site / "old" / "manifest.json").write_text('{"version": 0}')
    with serving(site) as address:
        tab = Tab(browser, address)
        load_from = "const { MobileSam } = await import(new URL('mobilesam.js', location)); await MobileSam.load"
        assert tab.error(f"{load_from}()") == (
            f"InputError: {address}weights/image.onnx is damaged or of another version (its SHA-256 differs from the "
            "manifest's). Reload the page; if it stays, write the folder again with: mobilesam site"
        )
        assert tab.error(f"{load_from}('absent/')").startswith(
            f"InputError: {address}absent/manifest.json cannot be fetched (HTTP 404)"
        )
        assert "manifest of version 0, and this script reads version 1" in tab.error(f"{load_from}('old/')")
        tab.close()


def test_webgpu_is_left_alone_where_it_cannot_be_used(browser: Any, float32_site: Path, tmp_path: Path) -> None:
    site = Path(shutil.copytree(float32_site, tmp_path / "site"))
    load = "let note = ''; const { MobileSam } = await import(new URL('mobilesam.js', location));"
    load += "const sam = await MobileSam.load('./', { webgpu: true, onNote: (text) => { note = text; } });"
    load += "await sam.setImage(await pixelsOf('cat.png')); sam.close(); return note;"
    with serving(site) as address:
        tab = Tab(browser, address)
        assert tab.run(load).startswith("This folder has no files for WebGPU, so the processor encodes.")
        manifest = json.loads((site / "manifest.json").read_text())
        manifest["webgpu"] = manifest["runtime"] | {"check": "weights/webgpu_check.bin"}
        (site / "manifest.json").write_text(json.dumps(manifest))
        assert tab.run(load) == "This browser or device has no WebGPU, so the processor encodes."
        tab.close()


def test_the_order_of_calls(browser: Any, float32_site: Path) -> None:
    with serving(float32_site) as address:
        tab = Tab(browser, address)
        tab.load()
        assert tab.error("await sam.predict({ points: [[1, 2]], labels: [1] })") == (
            "InputError: No image is set. Call setImage before predicting."
        )
        pending = "const waiting = sam.predict({ points: [[1, 2]], labels: [1] }); sam.close(); await waiting;"
        assert tab.error(pending) == "InputError: The model was closed. Load it again."
        assert tab.error("await sam.predict({})") == "InputError: The model was closed. Load it again."
        tab.close()
