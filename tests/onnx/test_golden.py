"""Every recorded prediction of the reference package, on ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

import mobilesam
from mobilesam.onnx import OnnxSam
from tests import golden
from tests.photos import photo

pytestmark = pytest.mark.weights

NAMES = ("astronaut", "chelsea", "coffee", "coffee_portrait", "coins", "china")


@pytest.fixture(scope="module", params=NAMES)
def case(request, onnx_sam):
    predictor = mobilesam.SamPredictor(onnx_sam)
    predictor.set_image(photo(request.param))
    return request.param, predictor, golden.predictions()[request.param]


def test_the_model_runs_on_onnx_runtime(onnx_sam):
    assert isinstance(onnx_sam, OnnxSam)
    assert onnx_sam.capabilities.device == "CPUExecutionProvider"
    assert onnx_sam.capabilities.masks_per_prompt == 4


def test_embedding(case):
    name, predictor, _ = case
    embedding = predictor.get_image_embedding()[0, ::16, ::4, ::4]
    np.testing.assert_allclose(embedding, golden.arrays()[f"{name}/embedding_sub"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", ["multi", "single"])
def test_prompts(case, mode):
    name, predictor, entry = case
    for index, record in enumerate(entry["prompts"]):
        predicted = predictor.predict(**record["prompt"], multimask_output=mode == "multi")
        np.testing.assert_allclose(predicted.iou_predictions, record[mode]["iou_predictions"], atol=1e-3, rtol=0)
        assert golden.lowest_mask_iou(predicted.masks, record[mode]["rles"]) >= 0.999
        assert golden.logits_error(f"{name}/{index}/{mode}/low_res", predicted.low_res_logits) < 0.05


def test_refinement_with_the_best_mask(case):
    _, predictor, entry = case
    for record in entry["prompts"]:
        first = predictor.predict(**record["prompt"])
        best = first.low_res_logits[[np.argmax(first.iou_predictions)]]
        refined = predictor.predict(**record["prompt"], mask_input=best, multimask_output=False)
        np.testing.assert_allclose(refined.iou_predictions, record["refined"]["iou_predictions"], atol=1e-3, rtol=0)
        assert golden.lowest_mask_iou(refined.masks, record["refined"]["rles"]) >= 0.999


def test_batched_boxes(case):
    _, predictor, entry = case
    record = entry["batched_boxes"]
    masks, iou_predictions, _ = predictor.predict(box=np.array(record["boxes_xyxy"]), multimask_output=False)
    np.testing.assert_allclose(iou_predictions, record["iou_predictions"], atol=1e-3, rtol=0)
    assert golden.lowest_mask_iou(masks[:, 0], record["rles"]) >= 0.999
