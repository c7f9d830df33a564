"""The choosers of a tuned network: kept if they help on held-back images, the same in each run, and found again."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import mobilesam
from mobilesam import weights
from mobilesam.finetune.chooser_learning import Recipe, learn, predict
from mobilesam.finetune.choosers import LEAST_HELD_BACK, MOST_OBJECTS, refit
from mobilesam.finetune.embeddings import FeatureFolder
from mobilesam.finetune.objects import Target, make_target
from mobilesam.finetune.training import TrainedImage
from mobilesam.learned import LearnedArrays
from mobilesam.masks import choosers
from mobilesam.masks.choosers import Choosers
from mobilesam.masks.selection import rule_of
from mobilesam.modeling.build import from_checkpoint
from mobilesam.modeling.torch_sam import TorchSam
from mobilesam.weights import checkpoint
from tests.tuned_model import write_tuned

pytestmark = [pytest.mark.torch, pytest.mark.weights]


def rings(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return an image of blue disks with a yellow disk in the middle of each, and the masks of the yellow ones."""
    random = np.random.default_rng(seed)
    image = random.normal(150, 6, (480, 600, 3))
    rows, columns = np.mgrid[:480, :600]
    masks = []
    for number in range(42):
        x, y = 45 + 85 * (number % 7) + random.integers(-5, 6), 40 + 80 * (number // 7) + random.integers(-5, 6)
        radius, inner = random.uniform(24, 34), random.uniform(0.4, 0.6)
        distance = np.hypot(columns - x, rows - y)
        image[distance < radius] = 40, 60, 160
        image[distance < inner * radius] = 230, 210, 60
        masks.append(distance < inner * radius)
    return image.clip(0, 255).astype(np.uint8), masks


def has_one_center(target: Target) -> bool:
    """Return whether one pixel is the inmost one: between several, the distance transform of OpenCV may vary."""
    depth = cv2.distanceTransform(np.pad(target.crop, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    squared = np.rint(depth**2)
    return int(np.count_nonzero(squared == squared.max())) == 1


@pytest.fixture(scope="module")
def model() -> TorchSam:
    return TorchSam(from_checkpoint(checkpoint.read(weights.ensure())))


@pytest.fixture(scope="module")
def images(model: TorchSam, tmp_path_factory: pytest.TempPathFactory) -> list[TrainedImage]:
    folder = FeatureFolder(
        tmp_path_factory.mktemp("features"),
        "0" * 16,
        lambda: lambda image: model.dump_features(model.encode(image).features),
    )
    result = []
    for seed in range(2):
        image, masks = rings(seed)
        targets = [target for mask in masks for target in [make_target(mask, 1024)] if target is not None]
        clear = [target for target in targets if has_one_center(target)][:LEAST_HELD_BACK]
        assert len(clear) == LEAST_HELD_BACK
        result.append(TrainedImage(f"{seed}.png", 0, folder.add(image), (819, 1024), clear))
    return result


Refitted = tuple[Choosers | None, dict[str, Any]]


@pytest.fixture(scope="module")
def refitted(model: TorchSam, images: list[TrainedImage]) -> Refitted:
    return refit(model, images[:1], images[1:], weights_id="tuned", seed=3)


def test_a_chooser_that_helps_is_kept(refitted: Refitted) -> None:
    own, facts = refitted
    assert own is not None
    point = facts["point"]
    assert point["kept"]
    assert own.point.knows("tuned")
    assert not choosers.PUBLISHED.point.knows("tuned")
    assert point["mean IoU"]["agreement"] + 0.05 < point["mean IoU"]["chooser"] <= point["mean IoU"]["best"]
    assert point["calibration error"]["after"] < point["calibration error"]["before"]


def test_the_facts_are_json_and_agree_with_what_is_kept(refitted: Refitted) -> None:
    own, facts = refitted
    assert json.loads(json.dumps(facts)) == facts
    assert facts["objects"] == {"training": 20, "held back": 20}
    assert facts["point"]["prompts"] == {"training": 80, "held back": 80}
    assert facts["box"]["prompts"] == {"training": 40, "held back": 40}
    for kind, fallback in (("point", "agreement"), ("box", "single")):
        mean = facts[kind]["mean IoU"]
        assert facts[kind]["kept"] == (mean["chooser"] >= mean[fallback])
        assert facts[kind]["kept"] == isinstance(getattr(own, kind), LearnedArrays)
        assert bool(facts[kind]["reason"]) != facts[kind]["kept"]
        assert all(0 <= value <= mean["best"] <= 1 for value in mean.values())


def test_the_same_seed_gives_the_same_choosers(model: TorchSam, images: list[TrainedImage], refitted: Refitted) -> None:
    mirrored = replace(images[0], view=1)
    own, facts = refit(model, [mirrored, images[0]], images[1:], weights_id="tuned", seed=3)
    assert facts == refitted[1]
    assert own is not None
    assert refitted[0] is not None
    for name, array in own.point.arrays.items():
        np.testing.assert_array_equal(array, refitted[0].point.arrays[name])


def test_without_enough_held_back_objects_there_are_no_choosers(model: TorchSam, images: list[TrainedImage]) -> None:
    few = replace(images[1], targets=images[1].targets[:19])
    for held_back in ([], [few]):
        own, facts = refit(model, images[:1], held_back, weights_id="tuned", seed=3)
        assert own is None
        assert facts["objects"] == {"training": 20, "held back": 19 * len(held_back)}
        for kind in ("point", "box"):
            assert facts[kind] == {"kept": False, "reason": "fewer than 20 objects are held back"}


def test_a_chooser_beside_a_checkpoint_is_used(refitted: Refitted, tmp_path: Path) -> None:
    path = write_tuned(tmp_path, with_choosers=False)
    weights_id = mobilesam.load(path, backend="torch", device="cpu").weights_id
    own = refitted[0]
    assert own is not None
    ids = {"weights_ids": np.array([weights_id])}
    choosers.write(choosers.file_of(path), Choosers(point=LearnedArrays({**own.point.arrays, **ids})))
    model = mobilesam.load(path, backend="torch", device="cpu")
    kinds = ({"single_point": True, "single_box": False}, {"single_point": False, "single_box": True})
    rules = [rule_of(None, lambda: weights_id, choosers=model.choosers, **kind) for kind in kinds]
    assert rules == ["learned", "single"]
    for name, array in own.point.arrays.items():
        if name != "weights_ids":
            np.testing.assert_array_equal(model.choosers.point.arrays[name], array.astype(np.float32))


@pytest.mark.parametrize("rows", [1, 12, 700])
def test_a_chooser_is_learned_from_any_number_of_rows(rows: int) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(rows, 104)).astype(np.float32)
    truth = random.random((rows, 4), np.float32)
    learned = learn(features, truth, np.ones(rows), Recipe(least_steps=20, epochs=2))
    expected = predict(learned, features)
    assert expected.shape == (rows, 4)
    assert ((expected >= 0) & (expected <= 1)).all()


def test_only_some_of_many_objects_are_decoded(
    model: TorchSam, images: list[TrainedImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[refit.__module__], "MOST_OBJECTS", 30)
    assert MOST_OBJECTS == 400
    _, facts = refit(model, images[:1], images[1:], weights_id="tuned", seed=0)
    assert facts["objects"] == {"training": 10, "held back": 20}
