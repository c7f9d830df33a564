"""The functions of utils.amg give what those of segment-anything 1.0 give."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mobilesam import SamAutomaticMaskGenerator
from mobilesam.errors import InputError
from mobilesam.utils import amg

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    """PyTorch, which this file can be collected without."""
    return importlib.import_module("torch")


@pytest.fixture(scope="module")
def theirs(reference: Path) -> ModuleType:
    """The module of PyPI's package, without the rest of it, which needs torchvision."""
    spec = importlib.util.spec_from_file_location("reference_amg", reference / "segment_anything/utils/amg.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def logits(torch):
    """Smooth logits, (12, 40, 56), with an empty mask and a full one."""
    noise = torch.randn(12, 1, 7, 9, generator=torch.Generator().manual_seed(3))
    logits = torch.nn.functional.interpolate(noise, (40, 56), mode="bilinear")[:, 0] * 4
    logits[3], logits[7] = -9, 9
    return logits


def equal(ours, expected) -> bool:
    same = ours.nan_to_num(-1) == expected.nan_to_num(-1)
    return ours.dtype == expected.dtype and bool(same.all())


@pytest.mark.parametrize("shape", [(12, 40, 56), (40, 56), (3, 4, 40, 56)])
def test_boxes_of_masks(theirs, logits, shape):
    masks = (logits > 0)[: int(np.prod(shape[:-2]))].reshape(shape)
    assert equal(amg.batched_mask_to_box(masks), theirs.batched_mask_to_box(masks))


def test_boxes_of_no_masks_and_of_integers(torch):
    assert amg.batched_mask_to_box(torch.zeros(0, 5, 6, dtype=torch.bool)).shape == (0, 4)
    mask = torch.zeros(1, 5, 6, dtype=torch.int32)
    mask[0, 1:3, 2:5] = 7
    assert amg.batched_mask_to_box(mask).tolist() == [[2, 1, 4, 2]]


def test_stability_scores(theirs, logits):
    assert equal(amg.calculate_stability_score(logits, 0.0, 1.0), theirs.calculate_stability_score(logits, 0.0, 1.0))


def test_run_lengths(theirs, logits):
    expected = theirs.mask_to_rle_pytorch(logits > 0)
    assert amg.mask_to_rle_pytorch(logits > 0) == expected
    for rle in expected:
        assert (amg.rle_to_mask(rle) == theirs.rle_to_mask(rle)).all()
        assert amg.area_from_rle(rle) == theirs.area_from_rle(rle)


def test_coordinates_and_masks_of_crops(torch, theirs, logits):
    crop, image = [30, 10, 86, 50], [0, 0, 120, 90]
    boxes = amg.batched_mask_to_box(logits > 0)
    points = torch.rand(5, 2)
    assert equal(amg.uncrop_boxes_xyxy(boxes, crop), theirs.uncrop_boxes_xyxy(boxes, crop))
    assert equal(amg.uncrop_boxes_xyxy(boxes[None], crop), theirs.uncrop_boxes_xyxy(boxes[None], crop))
    assert equal(amg.uncrop_points(points, crop), theirs.uncrop_points(points, crop))
    assert equal(amg.uncrop_masks(logits > 0, crop, 90, 120), theirs.uncrop_masks(logits > 0, crop, 90, 120))
    assert amg.uncrop_masks(logits, [0, 0, 56, 40], 40, 56) is logits
    for tolerance in (0.0, 5.0, 20.0):
        near = amg.is_box_near_crop_edge(boxes, crop, image, tolerance)
        assert equal(near, theirs.is_box_near_crop_edge(boxes, crop, image, tolerance))
    assert not amg.is_box_near_crop_edge(boxes[:0], crop, image).numel()
    for box in (boxes[0], boxes[0].numpy(), boxes[0].tolist()):
        assert list(amg.box_xyxy_to_xywh(box)) == list(theirs.box_xyxy_to_xywh(box))
    assert boxes[0].tolist() == amg.batched_mask_to_box(logits > 0)[0].tolist(), "the box itself is not changed"


def test_batches(theirs):
    values = list(range(10)), np.arange(20).reshape(10, 2)
    ours, expected = (list(module.batch_iterator(4, *values)) for module in (amg, theirs))
    assert [[list(map(str, part)) for part in batch] for batch in ours] == [
        [list(map(str, part)) for part in batch] for batch in expected
    ]
    with pytest.raises(InputError, match=r"args must be one or more values of equal length, got lengths \[2, 1\]"):
        next(iter(amg.batch_iterator(4, [1, 2], [1])))


@pytest.mark.parametrize("keep", [[2, 0], [True, False, True, False, False, False]], ids=["indices", "flags"])
def test_mask_data(torch, theirs, keep):
    values = {"tensor": torch.rand(3, 2), "array": np.eye(3), "list": ["a", "b", "c"]}
    results = []
    for module in (amg, theirs):
        data = module.MaskData()
        data.cat(module.MaskData(**values))
        data.cat(module.MaskData(**values))
        data["more"] = [1] * 6
        del data["more"]
        data.filter(torch.tensor(keep))
        data.to_numpy()
        results.append({name: np.asarray(value).tolist() for name, value in data.items()})
    assert results[0] == results[1]
    assert len(results[0]["list"]) == 2
    with pytest.raises(InputError, match="scores must be a list, an array or a tensor, got str; convert it"):
        amg.MaskData(scores="0.9")


def test_postprocessing_of_small_regions(torch):
    masks = torch.zeros(3, 60, 60, dtype=torch.bool)
    masks[0, 5:40, 5:40] = True
    masks[0, 10, 10] = False  # a hole
    masks[1, 5:40, 5:40] = True  # the same object, which needs no change
    masks[2, 45:55, 45:55] = True
    masks[2, 58, 2] = True  # an island
    data = amg.MaskData(
        rles=amg.mask_to_rle_pytorch(masks), boxes=amg.batched_mask_to_box(masks), names=["hole", "whole", "island"]
    )
    result = SamAutomaticMaskGenerator.postprocess_small_regions(data, 4, 0.7)
    assert result is data
    assert result["names"] == ["whole", "island"]
    assert result["boxes"].tolist() == [[5, 5, 39, 39], [45, 45, 54, 54]]
    assert amg.rle_to_mask(result["rles"][1]).sum() == 100
