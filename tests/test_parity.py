"""Every recorded prediction of the reference package, again."""

from __future__ import annotations

import numpy as np
import pytest

from mobilesam import SamPredictor
from tests import golden
from tests.photos import photo

pytestmark = [pytest.mark.weights, pytest.mark.torch]

NAMES = ("astronaut", "chelsea", "coffee", "coffee_portrait", "coins", "china")


@pytest.fixture(scope="module", params=NAMES)
def case(request, torch_sam):
    predictor = SamPredictor(torch_sam)
    predictor.set_image(photo(request.param))
    return request.param, predictor, golden.predictions()[request.param]


def assert_same(predicted, recorded, name):
    masks, iou_predictions, low_res_logits = predicted
    np.testing.assert_allclose(iou_predictions, recorded["iou_predictions"], atol=1e-3, rtol=0)
    assert golden.lowest_mask_iou(masks, recorded["rles"]) >= 0.999
    assert golden.logits_error(name, low_res_logits) < 0.05


def test_every_recorded_photo_is_compared():
    assert set(NAMES) == set(golden.predictions())


def test_embedding(case):
    name, predictor, _ = case
    embedding = predictor.get_image_embedding()[0, ::16, ::4, ::4].numpy()
    np.testing.assert_allclose(embedding, golden.arrays()[f"{name}/embedding_sub"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", ["multi", "single"])
def test_prompts(case, mode):
    name, predictor, entry = case
    for index, record in enumerate(entry["prompts"]):
        predicted = predictor.predict(**record["prompt"], multimask_output=mode == "multi")
        assert_same(predicted, record[mode], f"{name}/{index}/{mode}/low_res")


def test_refinement_with_the_best_mask(case):
    _, predictor, entry = case
    for record in entry["prompts"]:
        first = predictor.predict(**record["prompt"])
        best = first.low_res_logits[[np.argmax(first.iou_predictions)]]
        refined = predictor.predict(**record["prompt"], mask_input=best, multimask_output=False)
        np.testing.assert_allclose(refined.iou_predictions, record["refined"]["iou_predictions"], atol=1e-3, rtol=0)
        assert golden.lowest_mask_iou(refined.masks, record["refined"]["rles"]) >= 0.999


def test_batched_boxes(case):
    import torch

    name, predictor, entry = case
    record = entry["batched_boxes"]
    boxes = np.array(record["boxes_xyxy"])
    masks, iou_predictions, _ = predictor.predict(box=boxes, multimask_output=False)
    np.testing.assert_allclose(iou_predictions, record["iou_predictions"], atol=1e-3, rtol=0)
    assert golden.lowest_mask_iou(masks[:, 0], record["rles"]) >= 0.999

    tensor = predictor.transform.apply_boxes_torch(torch.as_tensor(boxes), predictor.original_size)
    torch_masks, torch_ious, _ = predictor.predict_torch(None, None, boxes=tensor, multimask_output=False)
    np.testing.assert_allclose(torch_ious, record["iou_predictions"], atol=1e-3, rtol=0)
    assert (torch_masks.numpy() != masks).mean() < 1e-5, name
