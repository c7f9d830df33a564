"""The parts of training: targets, simulated prompts, losses, the parameters that are trained, stored features."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mobilesam.errors import InputError
from mobilesam.finetune import losses, prompts, trainable
from mobilesam.finetune.embeddings import Encode, FeatureFolder
from mobilesam.finetune.images import prepare_kept
from mobilesam.finetune.network import PromptBatch, decode
from mobilesam.finetune.objects import make_target
from mobilesam.finetune.settings import Settings
from mobilesam.finetune.views import vary

pytestmark = [pytest.mark.torch]


def disk(hw: tuple[int, int], center: tuple[int, int], radius: int) -> np.ndarray:
    rows, columns = np.ogrid[: hw[0], : hw[1]]
    mask: np.ndarray = (columns - center[0]) ** 2 + (rows - center[1]) ** 2 <= radius**2
    return mask


def test_a_target_is_the_mask_in_the_model_frame() -> None:
    mask = disk((480, 640), (320, 200), 60)
    target = make_target(mask, 1024)
    assert target is not None
    assert target.box.tolist() == pytest.approx([416, 224, 608, 416], abs=3)  # 1.6 times the mask's
    full = target.mask(1024)
    assert full.sum() == pytest.approx(mask.sum() * 1.6**2, rel=0.02)
    assert not full[768:].any()
    coverage = target.coverage(1024, 256)
    assert coverage.sum() * 16 == full.sum()
    assert set(np.unique(coverage[60:70, 120:130])) == {1.0}


def test_masks_without_pixels_have_no_target() -> None:
    assert make_target(np.zeros((100, 100), np.bool_), 1024) is None
    single = np.zeros((4000, 4000), np.bool_)
    single[7, 7] = True
    assert make_target(single, 1024) is None


def test_boxes_are_exact_or_near_and_never_inverted() -> None:
    target = make_target(disk((512, 512), (200, 300), 40), 1024)
    assert target is not None
    boxes = np.array([prompts.draw_box(target, np.random.default_rng(seed)) for seed in range(300)])
    exact = (boxes == target.box).all(axis=1)
    assert 0.35 < exact.mean() < 0.65
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert np.abs(boxes - target.box).max() <= 20
    assert np.abs(boxes[~exact] - target.box).mean() > 5


def test_clicks_are_on_the_object_and_half_of_them_innermost() -> None:
    mask = disk((512, 512), (200, 300), 40) & ~disk((512, 512), (200, 300), 20)
    target = make_target(mask, 1024)
    assert target is not None
    full = target.mask(1024)
    clicks = [prompts.draw_click(target, np.random.default_rng(seed)) for seed in range(200)]
    assert all(full[int(y), int(x)] and label == 1 for x, y, label in clicks)
    most = max(clicks.count(click) for click in set(clicks))
    assert 60 < most < 140


def test_a_correction_is_on_the_largest_error() -> None:
    coverage = np.zeros((256, 256), np.float32)
    coverage[50:100, 50:150] = 1
    missing = coverage > 0
    missing[50:100, 110:150] = False
    x, y, label = prompts.correction(missing, coverage, 1024)
    assert label == 1
    assert 110 * 4 < x < 150 * 4
    assert 50 * 4 < y < 100 * 4
    wrong = coverage > 0
    wrong[180:240, 180:240] = True
    x, y, label = prompts.correction(wrong, coverage, 1024)
    assert label == 0
    assert 180 * 4 < x < 240 * 4
    assert prompts.correction(coverage > 0, coverage, 1024)[2] == 1  # nothing is wrong: a click on the object


def test_the_mask_loss_is_that_of_the_paper() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 16, 16, generator=random)
    truth = (torch.rand(2, 1, 16, 16, generator=random) > 0.5).float()
    compared = losses.mask_losses(logits, truth)
    chance, t = logits[1, 2].sigmoid(), truth[1, 0]
    right = torch.where(t == 1, chance, 1 - chance)
    weight = torch.where(t == 1, 0.25, 0.75)
    focal = (-weight * (1 - right) ** 2 * right.log()).mean()
    dice = 1 - (2 * (chance * t).sum() + 1) / (chance.sum() + t.sum() + 1)
    assert compared.masks[1, 2].item() == pytest.approx((20 * focal + dice).item(), rel=1e-5)
    both = ((logits[1, 2] > 0) & (t == 1)).sum() / ((logits[1, 2] > 0) | (t == 1)).sum()
    assert compared.ious[1, 2].item() == pytest.approx(both.item())


def test_only_the_best_candidate_is_trained() -> None:
    masks = torch.tensor([[0.5, 0.2, 0.9]], requires_grad=True)
    same = torch.tensor([[0.3, 0.3, 0.3]])
    losses.ambiguous(masks, same, same).sum().backward()
    assert masks.grad is not None
    assert masks.grad.tolist() == [[0, 1, 0]]


def test_distillation_is_least_for_equal_masks() -> None:
    random = torch.Generator().manual_seed(1)
    taught, ious = 4 * torch.randn(2, 4, 32, 32, generator=random), torch.rand(2, 4, generator=random)
    same = losses.distillation(taught, ious, taught, ious)
    assert same.item() == pytest.approx(0, abs=1e-3)
    for other in (taught + 1, -taught, taught * 0.5):
        assert losses.distillation(other, ious, taught, ious) > same + 0.01
    assert losses.distillation(taught, ious + 0.1, taught, ious) > same + 0.01


@pytest.mark.weights
def test_only_the_chosen_parameters_are_trained(sam: Any) -> None:
    def trained(**options: Any) -> set[str]:
        network = copy.deepcopy(sam)
        trainable.prepare(network, **{"lora": None, "neck": False, "seed": 0, **options})
        assert not any(module.training for module in network.modules())
        return {name for name, parameter in network.named_parameters() if parameter.requires_grad}

    assert {name.partition(".")[0] for name in trained()} == {"mask_decoder", "prompt_encoder"}
    with_neck = {name for name in trained(neck=True) if name.startswith("image_encoder")}
    assert {name.rpartition(".")[0] for name in with_neck} == {f"image_encoder.neck.{index}" for index in range(4)}
    low_rank = trained(lora=4)
    assert all("parametrizations.weight.0" in name for name in low_rank)
    assert len(low_rank) == 2 * 4 * 7  # two matrices for each projection of seven attentions


@pytest.mark.weights
def test_low_rank_updates_begin_at_the_original_and_are_merged(sam: Any) -> None:
    network = copy.deepcopy(sam)
    parameters = trainable.prepare(network, lora=4, neck=False, seed=0)
    merged = trainable.merged(network)
    assert merged.state_dict().keys() == sam.state_dict().keys()
    assert all(torch.equal(merged.state_dict()[key], value) for key, value in sam.state_dict().items())
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.01
    changed = trainable.merged(network)
    random = torch.Generator().manual_seed(0)
    embedding = 0.1 * torch.randn(1, 256, 64, 64, generator=random)
    batch = PromptBatch(boxes=np.array([[100, 100, 500, 400]], np.float32))
    with torch.no_grad():
        wanted, obtained = decode(network, embedding, batch), decode(changed, embedding, batch)
        before = decode(sam, embedding, batch)
    assert torch.allclose(wanted.logits, obtained.logits, atol=1e-3)
    assert not torch.allclose(before.logits, obtained.logits, atol=0.1)


@pytest.mark.weights
def test_a_low_rank_update_is_random_by_seed(sam: Any) -> None:
    first, second, other = (trainable.prepare(copy.deepcopy(sam), lora=2, neck=False, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(first, other, strict=True))


def test_features_are_kept_in_half_precision_and_made_once(tmp_path: Path) -> None:
    calls, loaded = [], []

    def encode(image: np.ndarray) -> np.ndarray:
        calls.append(image)
        return np.full((1, 256, 64, 64), image.mean(), np.float32)

    def load() -> Encode:
        loaded.append(encode)
        return encode

    folder = FeatureFolder(tmp_path / "new", "abc", load)
    assert not loaded
    image = np.full((8, 9, 3), 7, np.uint8)
    path = folder.add(image)
    assert folder.add(image) == path
    assert (len(calls), len(loaded)) == (1, 1)
    folder.release()
    assert folder.add(image) == path
    assert len(loaded) == 1, "what is in the folder needs no encoder"
    assert path.stat().st_size < 2.2e6
    assert folder.read(path).dtype == torch.float32
    assert folder.read(path).mean() == 7
    assert FeatureFolder(tmp_path / "new", "other", load).add(image) != path
    path.write_bytes(path.read_bytes()[:1000])
    assert folder.add(image) == path
    assert (len(calls), len(loaded)) == (3, 3)
    assert folder.read(path).mean() == 7


def test_few_images_to_keep_are_used_mirrored_and_cropped(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(16)]
    for number, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8)).save(path)

    def load() -> Encode:
        return lambda image: np.full((1, 256, 64, 64), image.mean(), np.float32)

    folder = FeatureFolder(tmp_path / "features", "abc", load)
    few, _ = prepare_kept(paths[:2], folder, 1024)
    assert [image.view for image in few] == [0, 1, 2, 3] * 2
    assert len({image.features for image in few}) == 8
    assert few[0].input_hw == few[1].input_hw == (683, 1024)
    many, _ = prepare_kept(paths, folder, 1024)
    assert [image.view for image in many] == [0] * 16


def test_views_keep_masks_on_their_objects() -> None:
    image = np.zeros((100, 120, 3), np.uint8)
    masks = [disk((100, 120), (60, 50), 20), disk((100, 120), (5, 5), 5)]
    for mask in masks:
        image[mask] = 255
    for number in range(4):
        varied, kept = vary(image, masks, number, np.random.default_rng(number))
        assert kept
        assert all(mask.shape == varied.shape[:2] for mask in kept)
        assert all((varied[mask] == 255).all() for mask in kept)
        assert (varied.shape == image.shape) == (number < 2)
    assert np.array_equal(vary(image, masks, 1, np.random.default_rng(0))[0], image[:, ::-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be a whole number from 1 to 1000000, got 0"),
        ({"steps": 2.5}, "steps must be a whole number from 1"),
        ({"lora": 65}, "lora must be a whole number from 1 to 64"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0 to 0.1, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0"),
        ({"held_back": 1}, "held_back must be a number from 0 to 0.9, got 1"),
        ({"time_budget": float("inf")}, "time_budget must be a number above 0"),
        ({"time_budget": "10"}, "time_budget must be a number above 0, got '10'"),
        ({"views": 2}, "views must be 0, 1 or 3, got 2"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        Settings(**settings)
    assert message in str(error.value)
