"""The learned chooser: defined on every input, the same everywhere, and refused for other weights."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mobilesam
from mobilesam.errors import InputError, WeightsError
from mobilesam.masks import chooser
from mobilesam.masks.choosers import Choosers
from mobilesam.masks.selection import choose, rule_of
from mobilesam.model import Wrapped
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import segment_objects
from tests.photos import photo

pytestmark = pytest.mark.weights
POINT = (300.0, 200.0)
IOUS = np.array([0.9, 0.8, 0.85, 0.7], np.float32)


def disks(*radii: float, center: tuple[float, float] = (128, 96)) -> np.ndarray:
    """Return logits of disks, 4 × 256 × 256, of an image that covers 192 rows."""
    y, x = np.mgrid[:256, :256]
    distance = np.hypot(x - center[0], y - center[1])
    return np.stack([(radius - distance).astype(np.float32) for radius in radii])


def confidences(logits: np.ndarray, ious: np.ndarray = IOUS, xy: tuple[float, float] = (512, 384)) -> np.ndarray:
    return chooser.confidences(logits, ious, xy, (768, 1024))


def test_they_are_probabilities_and_fast() -> None:
    logits = disks(30, 32, 60, 20)
    values = confidences(logits)
    assert (values.shape, values.dtype) == ((4,), np.float32)
    assert ((values >= 0) & (values <= 1)).all()
    times = []
    for _ in range(30):
        start = time.perf_counter()
        confidences(logits)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.004, "a millisecond, on a machine that is not busy"


def test_they_do_not_depend_on_the_padding_below_the_image() -> None:
    logits = disks(30, 32, 60, 20)
    other = logits.copy()
    other[:, 192:] = 50
    np.testing.assert_array_equal(confidences(logits), confidences(other))


@pytest.mark.parametrize(
    "logits",
    [
        np.full((4, 256, 256), -9, np.float32),
        np.full((4, 256, 256), 9, np.float32),
        np.full((4, 256, 256), np.nan, np.float32),
        np.full((4, 256, 256), np.inf, np.float32),
        disks(30, -5, -5, -5),
        disks(0.4, 0.4, 0.4, 0.4),
    ],
    ids=["empty", "everything", "NaN", "infinite", "one mask", "a pixel"],
)
@pytest.mark.parametrize("xy", [(512, 384), (0, 0), (-1e30, 5), (1e30, 1e30), (2000, -300)])
@pytest.mark.parametrize("ious", [IOUS, np.full(4, np.nan, np.float32), np.zeros(4, np.float32)])
def test_every_input_has_a_confidence(logits: np.ndarray, xy: tuple[float, float], ious: np.ndarray) -> None:
    with np.errstate(all="raise", under="ignore"):
        values = confidences(logits, ious, xy)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("hw", [(1, 1024), (1024, 1), (1024, 1024), (3, 3)])
def test_images_of_every_shape(hw: tuple[int, int]) -> None:
    assert np.isfinite(chooser.confidences(disks(30, 32, 60, 20), IOUS, (1, 1), hw)).all()


def test_the_default_rule(onnx_sam) -> None:
    known = onnx_sam.source_weights_id
    assert chooser.FILE.knows(known)
    point, neither = {"single_point": True, "single_box": False}, {"single_point": False, "single_box": False}
    assert rule_of(None, lambda: known, **point) == "learned"
    assert rule_of(None, lambda: "other", **point) == "agreement"
    # The digest of the weights is not needed for other prompts and rules.
    assert {rule_of(each, pytest.fail, **neither) for each in (None, "learned")} == {"single"}
    assert rule_of("score", pytest.fail, **point) == "score"
    with pytest.raises(
        InputError, match=r"select must be one of agreement, score, single for these weights, got 'learned'"
    ):
        rule_of("learned", lambda: "other", **point)
    with pytest.raises(InputError, match="confidences must be given for the rule learned, got None"):
        choose("learned", disks(1, 2, 3, 4), IOUS)


class OtherWeights(Wrapped):
    source_weights_id = "other"


def test_predict_one_a_prompt_file_and_a_batch_choose_the_same(onnx_sam, tmp_path: Path) -> None:
    image = photo("coffee")
    predictor = mobilesam.SamPredictor(onnx_sam)
    predictor.set_image(image)
    for point in (POINT, (120.0, 80.0), (500.0, 300.0)):
        one = predictor.predict_one([point], [1])
        assert len(one) == 3
        assert one.confidence is not None
        (records,) = segment_objects(onnx_sam, onnx_sam.encode(image), [ObjectPrompt((point,), (1,))])
        assert records[0]["area"] == int(one.masks.sum())
        assert records[0]["confidence"] == pytest.approx(float(one.confidence[0]))
        many = next(iter(mobilesam.segment_many([image], [[ObjectPrompt((point,), (1,))]], model=onnx_sam)))
        assert many.records[0]["confidence"] == records[0]["confidence"]
    batch = predictor.predict_one([[[300, 200]], [[120, 80]]], [[1], [1]])
    assert batch.confidence is not None
    assert batch.confidence.shape == batch.iou_predictions.shape == (2, 1)
    np.testing.assert_allclose(batch.confidence[0], predictor.predict_one([POINT], [1]).confidence, atol=1e-6)


def test_prompts_and_weights_without_a_confidence(onnx_sam) -> None:
    predictor = mobilesam.SamPredictor(onnx_sam)
    predictor.set_image(photo("coffee"))
    several = {"point_coords": [POINT] * 2, "point_labels": [1, 0]}
    for prompt in (several, {**several, "box": [100, 50, 400, 300]}):
        one, single = predictor.predict_one(**prompt), predictor.predict(**prompt, multimask_output=False)
        assert one.confidence is None
        assert (one.masks == single.masks).all()
    assert predictor.predict([POINT], [1]).confidence is None
    agreement = predictor.predict_one([POINT], [1], select="agreement")
    assert agreement.confidence is not None, "the confidence is that of the mask, whichever rule chose it"
    other = mobilesam.SamPredictor(OtherWeights(onnx_sam))
    other.set_image(photo("coffee"))
    result = other.predict_one([POINT], [1])
    assert result.confidence is None
    assert (result.masks == agreement.masks).all()
    with pytest.raises(InputError, match="got 'learned'; the chooser was learned on other weights"):
        other.predict_one([POINT], [1], select="learned")


def test_exports_and_quantizations_of_the_weights_have_it(onnx_sam) -> None:
    quantized = type(onnx_sam)(onnx_sam._encoder, onnx_sam._decoder, "int8", source_weights_id=onnx_sam.weights_id)
    predictor = mobilesam.SamPredictor(quantized)
    predictor.set_image(photo("coffee"))
    assert predictor.predict_one([POINT], [1]).confidence is not None


@pytest.mark.torch
def test_the_network_has_it_until_its_weights_change(sam) -> None:
    import copy

    import torch

    network = copy.deepcopy(sam)
    predictor = mobilesam.SamPredictor(network)
    predictor.set_image(photo("coffee"))
    assert predictor.predict_one([POINT], [1]).confidence is not None
    with torch.no_grad():
        network.mask_decoder.iou_token.weight += 0.5
    assert predictor.predict_one([POINT], [1]).confidence is None


def test_a_file_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "chooser.npz"
    with np.load(chooser.FILE.path) as archive:
        np.savez_compressed(path, **{**archive, "format": np.array("mobilesam-chooser-9")})
    other = replace(chooser.FILE, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(WeightsError, match="its format is mobilesam-chooser-9, not mobilesam-chooser-1"):
        other.knows("any")


@pytest.mark.parametrize(
    ("content", "reason"), [(b"PK\x03\x04 damaged", "its SHA-256 differs"), (None, "No such file")]
)
def test_a_damaged_file(tmp_path: Path, monkeypatch, onnx_sam, content: bytes | None, reason: str) -> None:
    path = tmp_path / "chooser.npz"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(onnx_sam, "choosers", Choosers(point=replace(chooser.FILE, path=path)))
    predictor = mobilesam.SamPredictor(onnx_sam)
    predictor.set_image(photo("coffee"))
    with pytest.raises(WeightsError, match=rf"The learned chooser .* cannot be used: {reason}.*select='agreement'"):
        predictor.predict_one([POINT], [1])
    assert predictor.predict_one([POINT], [1], select="agreement").confidence is None
    assert predictor.predict_one(box=[100, 50, 400, 300]).masks.any(), "a box has a file of its own"


@pytest.mark.filterwarnings("ignore:this format's polygons")
def test_commands_write_it(command, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(photo("coffee")).save(tmp_path / "coffee.png")
    outcome = command("predict", tmp_path / "coffee.png", "--point", "300,200", "--out", tmp_path, "--json",
                      "--format", "coco,csv,labelme,geojson")  # fmt: skip
    assert outcome.code == 0, outcome.err
    (image,) = json.loads(outcome.out)["images"]
    confidence = (
        image["objects"][0]["masks"][0]["confidence"] if "objects" in image else image["masks"][0]["confidence"]
    )
    assert 0 < confidence < 1
    assert f"confidence {confidence:.2f}" in outcome.err
    (masks,) = mobilesam.formats.read_coco(tmp_path / "coco.json")
    others = [
        mobilesam.formats.read_labelme(tmp_path / "coffee.json"),
        mobilesam.formats.read_geojson(tmp_path / "coffee.geojson"),
    ]
    assert [each.records[0]["confidence"] for each in (masks, *others)] == [pytest.approx(confidence, abs=1e-4)] * 3
    assert (tmp_path / "coffee-masks.csv").read_text().splitlines()[0].endswith(",confidence")
