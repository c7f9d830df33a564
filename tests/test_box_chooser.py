"""The learned chooser of a box: defined on every input, the same everywhere, and left out for other weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mobilesam
from mobilesam.errors import OutOfImageWarning, WeightsError
from mobilesam.masks import box_chooser, chooser
from mobilesam.masks.choosers import Choosers
from mobilesam.masks.selection import rule_of
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import segment_objects
from tests.photos import photo
from tests.test_chooser import IOUS, OtherWeights, disks

pytestmark = pytest.mark.weights
BOXES = [(100.0, 50.0, 400.0, 300.0), (75.0, 10.0, 482.0, 395.0), (140.0, 80.0, 260.0, 150.0)]
BOX = np.array([[392, 264], [632, 504]], np.float32)  # of a disk of 30 logits


@pytest.fixture
def predictor(onnx_sam) -> mobilesam.SamPredictor:
    predictor = mobilesam.SamPredictor(onnx_sam)
    predictor.set_image(photo("coffee"))
    return predictor


def confidences(logits: np.ndarray, ious: np.ndarray = IOUS, corners: np.ndarray = BOX) -> np.ndarray:
    return box_chooser.confidences(logits, ious, corners, (768, 1024))


def test_they_are_probabilities() -> None:
    values = confidences(disks(30, 32, 60, 20))
    assert (values.shape, values.dtype) == ((4,), np.float32)
    assert ((values >= 0) & (values <= 1)).all()


def test_the_features_of_a_mask_that_is_the_box() -> None:
    logits = np.full((4, 256, 256), -9, np.float32)
    logits[0, 66:126, 98:158] = 9
    values = box_chooser.features_of(logits, IOUS, BOX, (768, 1024), 1024)
    of_masks = chooser.features_of(logits, IOUS, BOX.mean(axis=0), (768, 1024), 1024)
    np.testing.assert_array_equal(values[: len(of_masks)], of_masks)
    own, *empty = values[len(of_masks) :].reshape(4, 7)
    np.testing.assert_allclose(own, [1, 1, 1, 0, 0, 0, 0], atol=0.04)
    np.testing.assert_array_equal(empty, np.zeros((3, 7)))


@pytest.mark.parametrize(
    "logits",
    [np.full((4, 256, 256), value, np.float32) for value in (-9, 9, np.nan, np.inf)] + [disks(30, -5, -5, -5)],
    ids=["empty", "everything", "NaN", "infinite", "one mask"],
)
@pytest.mark.parametrize(
    "corners", [(392, 264, 632, 504), (-900, -800, -50, -9), (1e30, 1e30, 2e30, 2e30), (5, 5, 5, 5), (9, 9, 2, 2)]
)
@pytest.mark.parametrize("ious", [IOUS, np.full(4, np.nan, np.float32)])
def test_every_input_has_a_confidence(logits: np.ndarray, corners: tuple[float, ...], ious: np.ndarray) -> None:
    with np.errstate(all="raise", under="ignore"):
        values = confidences(logits, ious, np.array(corners, np.float32).reshape(2, 2))
    assert np.isfinite(values).all()


def test_the_padding_below_the_image_is_not_seen() -> None:
    logits = disks(30, 32, 60, 20)
    other = logits.copy()
    other[:, 192:] = 50
    np.testing.assert_array_equal(confidences(logits), confidences(other))


def test_the_default_rule(onnx_sam) -> None:
    box, known = {"single_point": False, "single_box": True}, onnx_sam.source_weights_id
    for select in (None, "learned"):
        assert rule_of(select, lambda: known, **box) == "learned"
        assert rule_of(select, lambda: "other", **box) == "single"
    assert rule_of("single", pytest.fail, **box) == "single"


def test_predict_one_a_prompt_file_and_a_batch_choose_the_same(onnx_sam, predictor) -> None:
    image, prompts = photo("coffee"), [ObjectPrompt(box=box) for box in BOXES]
    records = segment_objects(onnx_sam, onnx_sam.encode(image), prompts)
    (many,) = mobilesam.segment_many([image], [prompts], model=onnx_sam)
    batch = predictor.predict_one(box=np.array(BOXES))
    for place, ((record,), of_many) in enumerate(zip(records, many.records, strict=True)):
        one = predictor.predict_one(box=BOXES[place])
        assert record["area"] == of_many["area"] == int(one.masks.sum())
        assert record["confidence"] == of_many["confidence"] == pytest.approx(float(one.confidence[0]))
        np.testing.assert_allclose(batch.confidence[place], one.confidence, atol=1e-5)


def test_the_single_mask_and_predict_are_as_before(predictor) -> None:
    single = predictor.predict(box=BOXES[0], multimask_output=False)
    one = predictor.predict_one(box=BOXES[0], select="single")
    np.testing.assert_array_equal(one.masks, single.masks)
    assert single.confidence is None
    assert one.confidence is not None, "the confidence is that of the mask, whichever rule chose it"


def test_other_weights_keep_the_single_mask(onnx_sam) -> None:
    other = mobilesam.SamPredictor(OtherWeights(onnx_sam))
    other.set_image(photo("coffee"))
    single = other.predict(box=BOXES[0], multimask_output=False)
    for select in (None, "learned"):
        one = other.predict_one(box=BOXES[0], select=select)
        assert one.confidence is None
        np.testing.assert_array_equal(one.masks, single.masks)


def test_a_box_outside_the_image(predictor) -> None:
    with pytest.warns(OutOfImageWarning):
        one = predictor.predict_one(box=[-300, -200, -100, -50])
    assert 0 <= float(one.confidence[0]) <= 1


def test_a_damaged_file(tmp_path: Path, monkeypatch, onnx_sam, predictor) -> None:
    missing = replace(box_chooser.FILE, path=tmp_path / "box_chooser.npz")
    monkeypatch.setattr(onnx_sam, "choosers", Choosers(box=missing))
    with pytest.raises(WeightsError, match=r"The learned chooser of boxes .* cannot be used.*select='single'"):
        predictor.predict_one(box=BOXES[0])
    assert predictor.predict_one(box=BOXES[0], select="single").confidence is None
    assert predictor.predict_one([[300, 200]], [1]).confidence is not None
