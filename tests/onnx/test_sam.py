"""OnnxSam on files of several exporters, and its errors for files that are not a model."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
import warnings

import numpy as np
import onnx
import pytest

import mobilesam
from mobilesam.config import MULTIMASK
from mobilesam.errors import InputError, SingleMaskWarning
from mobilesam.geometry import covered_tokens
from mobilesam.image.read import image_digest
from mobilesam.masks.upsampling import upsample
from mobilesam.model import NOT_MADE
from mobilesam.onnx import OnnxSam, providers, templates
from mobilesam.onnx.bind import bind_weights
from mobilesam.prompts.arrays import Prompts, make_prompts
from tests import golden
from tests.photos import photo

pytestmark = pytest.mark.weights


def test_without_torch_the_default_model_runs_on_onnx_runtime():
    import subprocess

    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import mobilesam, numpy; model = mobilesam.load()\n"
        "predictor = mobilesam.SamPredictor(model); predictor.set_image(numpy.zeros((40, 60, 3), numpy.uint8))\n"
        "print(type(model).__name__, predictor.predict([[20, 20]], [1]).masks.shape)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "OnnxSam (3, 40, 60)\n"


def test_the_pair_of_npm_run_as_it_is_gives_the_single_masks_of_the_reference(pair):
    model = OnnxSam.from_files(pair)
    assert model.capabilities.masks_per_prompt == 1
    assert model.capabilities.prompt_batch == 1
    predictor = mobilesam.SamPredictor(model)
    predictor.set_image(photo("coffee"))
    boxes = golden.predictions()["coffee"]["batched_boxes"]["boxes_xyxy"]
    with pytest.warns(SingleMaskWarning, match="this ONNX decoder returns one mask per prompt, not three"):
        predictor.predict(box=boxes[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks, ious, _ = predictor.predict(box=boxes, multimask_output=False)
    assert masks.shape == (len(boxes), 1, *photo("coffee").shape[:2])
    full = mobilesam.SamPredictor(mobilesam.load(backend="onnx"))
    full.set_image(photo("coffee"))
    # A lone box counts as two points, so that decoder chooses among the three multimask outputs.
    expected = full.predict(box=boxes)
    best = expected.iou_predictions.argmax(axis=1)
    np.testing.assert_allclose(ious[:, 0], expected.iou_predictions.max(axis=1), atol=1e-3)
    assert (masks[:, 0] != expected.masks[np.arange(len(boxes)), best]).mean() < 1e-4


def test_everything_mode_on_a_single_mask_decoder_finds_each_points_best(pair, onnx_sam):
    with pytest.warns(SingleMaskWarning, match="The model predicts one mask for each point instead of three"):
        generator = mobilesam.SamAutomaticMaskGenerator(OnnxSam.from_files(pair), points_per_side=5)
    records = generator.generate(photo("coins"))
    every = mobilesam.SamAutomaticMaskGenerator(onnx_sam, points_per_side=5).generate(photo("coins"))
    assert 0 < len(records) <= len(every)
    for record in records:
        ious = [(record["segmentation"] & other["segmentation"]).sum() / record["area"] for other in every]
        assert max(ious) > 0.99


def test_the_pair_of_npm_as_a_checkpoint_gives_every_mask(pair, monkeypatch, tmp_path):
    folder = tmp_path / "pair"
    folder.mkdir()
    for path, name in zip(pair, ("encoder.onnx", "sam.onnx"), strict=True):
        shutil.copy(path, folder / name)
    model = mobilesam.load(folder, backend="onnx")
    assert model.capabilities.masks_per_prompt == 4
    assert model.weights_id == mobilesam.load(backend="onnx").weights_id


def test_keep_in_any_order(onnx_sam):
    embedding = onnx_sam.encode(photo("coins"))
    prompts = Prompts(
        np.full((4, 1, 2), 300, np.float32) * [[[1.0]], [[2]], [[0.5]], [[1.5]]], np.ones((4, 1), np.float32)
    )
    prompts = Prompts(prompts.point_coords.astype(np.float32), prompts.point_labels)
    scored = onnx_sam.score_prompts(embedding, prompts)
    every = onnx_sam.upscale(scored, np.array([(prompt, mask) for prompt in range(4) for mask in range(4)]))
    some = onnx_sam.upscale(scored, np.array([(3, 1), (0, 2), (3, 0)]))
    np.testing.assert_allclose(some, every[[13, 2, 12]], atol=1e-4)


def test_prompts_do_not_depend_on_their_neighbors(onnx_sam):
    embedding = onnx_sam.encode(photo("chelsea"))
    generator = np.random.default_rng(0)
    coords, labels = (generator.random((5, 3, 2)) * 1000).astype(np.float32), np.array([[1, 0, -1]] * 5, np.float32)
    masks = generator.normal(0, 5, (5, 1, 256, 256)).astype(np.float32)
    for prompts in (Prompts(coords, labels), Prompts(coords, labels, masks)):
        together = onnx_sam.score_prompts(embedding, prompts)
        logits = onnx_sam.upscale(together, np.array([(index, 2) for index in range(5)]))
        for index in range(5):
            alone = onnx_sam.score_prompts(embedding, prompts[index : index + 1])
            np.testing.assert_allclose(together.iou_predictions[index], alone.iou_predictions[0], atol=1e-5)
            np.testing.assert_allclose(logits[index], onnx_sam.upscale(alone, np.array([[0, 2]]))[0], atol=1e-3)


@pytest.mark.torch
def test_fast_padding_is_that_of_the_network(onnx_sam, sam):
    from mobilesam.modeling.torch_sam import TorchSam

    image = photo("china")
    exact, fast = (onnx_sam.encode(image, fast_padding=each).features for each in (False, True))
    expected = TorchSam(sam).encode(image, fast_padding=True).features.numpy()
    np.testing.assert_allclose(fast, expected, atol=1e-4, rtol=0)
    assert np.abs(fast - exact).max() > 0.01


def test_fast_padding_needs_an_encoder_of_any_size(pair):
    with pytest.raises(
        InputError, match=r"encoder must take images of any size for fast_padding, got an input of .*1024"
    ):
        OnnxSam.from_files(pair).encode(photo("china"), fast_padding=True)


def test_files_are_made_again_when_they_are_damaged(monkeypatch, tmp_path):
    from mobilesam import weights

    checkpoint = weights.ensure()
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path))
    first = templates.bound_files(checkpoint)
    content = first[1].read_bytes()
    assert all(path.is_relative_to(tmp_path) for path in first)
    first[1].write_bytes(content[:-1])
    assert templates.bound_files(checkpoint) == first
    assert first[1].read_bytes() == content


def test_nothing_needs_to_be_writable(monkeypatch, tmp_path):
    from mobilesam import weights

    checkpoint = weights.ensure()
    (tmp_path / "file").touch()
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path / "file"))
    files = templates.bound_files(checkpoint)
    assert all(isinstance(content, bytes) for content in files)
    assert OnnxSam.from_checkpoint(checkpoint).capabilities.masks_per_prompt == 4


def test_weights_that_lack_a_tensor_are_refused():
    from mobilesam.errors import CheckpointError
    from mobilesam.onnx import contract

    with pytest.raises(CheckpointError, match=r"state 'mask_decoder\..*' must have shape \(.*\), got none"):
        bind_weights(templates.template(contract.UPSCALE), {}, {})


def test_files_of_different_weights_are_refused(tmp_path):
    from mobilesam import weights

    for path in templates.bound_files(weights.ensure()):
        shutil.copy(path, tmp_path)
    model = onnx.load(tmp_path / "score.onnx")
    for entry in model.metadata_props:
        if entry.key == "mobilesam.weights_sha256":
            entry.value = "0" * 64
    onnx.save(model, tmp_path / "score.onnx")
    with pytest.raises(InputError, match=r"encoder and decoder must come from the same weights, got 000000000000 and"):
        OnnxSam.from_files(tmp_path)


def test_a_part_alone_is_refused(pair, tmp_path):
    with pytest.raises(
        InputError, match=r"ONNX model must have an encoder and a decoder, got encoder \(.*encoder.onnx\)"
    ):
        OnnxSam.from_files(pair[0])
    with pytest.raises(InputError, match=r"ONNX model must have one encoder, got"):
        OnnxSam.from_files([pair[0], pair[0]])
    with pytest.raises(InputError, match=r"must have an encoder and a decoder, got no ONNX file"):
        OnnxSam.from_files(tmp_path)


def test_a_corrupt_file_is_refused(pair, tmp_path):
    broken = tmp_path / "encoder.onnx"
    broken.write_bytes(pair[0].read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"ONNX file must be complete, got .*encoder.onnx"):
        OnnxSam.from_files([broken, pair[1]])


def test_providers():
    assert providers.resolve("cpu") == ["CPUExecutionProvider"]
    assert providers.resolve("CPUExecutionProvider") == ["CPUExecutionProvider"]
    assert providers.resolve("auto")[-1] == "CPUExecutionProvider"
    with pytest.raises(
        InputError, match=r"provider must be one of auto, cpu, cuda, .*, got 'cudaa'; did you mean 'cuda'"
    ):
        providers.resolve("cudaa")
    here = re.escape(", ".join(providers.available()))
    message = rf"provider must be available here \({here}\), got 'qnn'; install onnxruntime-qnn instead of onnxrun"
    with pytest.raises(InputError, match=message):
        mobilesam.load(provider="qnn")
    with pytest.raises(InputError, match=r"provider must be used with the onnx backend, got backend 'torch'"):
        mobilesam.load(provider="cpu", backend="torch")
    with pytest.raises(
        InputError, match=r"device must be left out if provider is given, got device 'cuda' and provider 'cpu'"
    ):
        mobilesam.load(provider="cpu", device="cuda")
    with pytest.raises(InputError, match=r"device must be cpu, cuda or auto for ONNX Runtime, got 'mps'"):
        mobilesam.load(backend="onnx", device="mps")


def test_threads(onnx_sam):
    one = mobilesam.load(backend="onnx", threads=1)
    image = photo("coins")
    np.testing.assert_allclose(one.encode(image).features, onnx_sam.encode(image).features, atol=1e-4)


def test_an_embedding_goes_from_one_backend_to_the_other(onnx_sam, tmp_path):
    first = mobilesam.SamPredictor(onnx_sam)
    first.set_image(photo("coins"))
    first.save_embedding(tmp_path / "coins.npz")
    second = mobilesam.SamPredictor(mobilesam.load(backend="onnx", threads=1))
    second.load_embedding(tmp_path / "coins.npz", photo("coins"))
    a, b = (each.predict([[100, 100]], [1]) for each in (first, second))
    np.testing.assert_allclose(a.low_res_logits, b.low_res_logits, atol=1e-3)


def test_logits_beyond_the_photo_can_be_left_out(onnx_sam):
    image = photo("china")[:300]
    embedding = onnx_sam.encode(image)
    prompts, _ = make_prompts([[250, 150]], [1], original_hw=embedding.original_hw, input_hw=embedding.input_hw)
    scored = onnx_sam.score_prompts(embedding, prompts)
    keep = np.array([(0, 3), (0, 1)])
    whole, part = onnx_sam.upscale(scored, keep), onnx_sam.upscale(scored, keep, embedding.input_hw)
    rows, _ = covered_tokens(embedding.input_hw, 1024, 64)
    assert rows < 40
    assert part.shape == whole.shape
    assert (part[:, 4 * rows :] == NOT_MADE).all()
    np.testing.assert_allclose(part[:, : 4 * rows], whole[:, : 4 * rows], atol=1e-4)
    sizes = embedding.input_hw, embedding.original_hw, 1024
    np.testing.assert_allclose(upsample(part, *sizes), upsample(whole, *sizes), atol=1e-4)


def test_many_prompts_are_decoded_by_workers():
    model = mobilesam.load(backend="onnx", threads=3)
    assert model.capabilities.workers == 3
    assert mobilesam.load(backend="onnx", threads=1).capabilities.workers == 1
    embedding = model.encode(photo("coffee"))
    points = np.random.default_rng(0).random((7, 1, 2)) * [600, 400]
    sizes = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    prompts, _ = make_prompts(points, np.ones((7, 1)), **sizes)
    together = model.decode(embedding, prompts, MULTIMASK)
    for index in range(7):
        alone = model.decode(embedding, prompts[index : index + 1], MULTIMASK)
        np.testing.assert_allclose(together.low_res_logits[index], alone.low_res_logits[0], atol=1e-4)
        np.testing.assert_allclose(together.iou_predictions[index], alone.iou_predictions[0], atol=1e-6)


@pytest.mark.parametrize("backend", ["onnx", pytest.param("torch", marks=pytest.mark.torch)])
@pytest.mark.parametrize("fast_padding", [False, True])
def test_several_images_in_one_call(backend, fast_padding, monkeypatch):
    model = mobilesam.load(backend=backend)
    images = [photo("coffee"), photo("coffee")[:, ::-1], photo("coffee_portrait"), photo("coffee")[:100]]
    singly = [model.encode(image, fast_padding=fast_padding) for image in images]
    capabilities = dataclasses.replace(model.capabilities, encode_batch=3)
    monkeypatch.setattr(type(model), "capabilities", capabilities)
    owner, name = (model._encoder, "run") if backend == "onnx" else (model, "encode_tensor")
    call, counts = getattr(owner, name), []
    monkeypatch.setattr(owner, name, lambda pixels: counts.append(len(pixels)) or call(pixels))
    together = model.encode_batch(images, fast_padding=fast_padding)
    assert counts == ([2, 1, 1] if fast_padding else [3, 1])
    for one, other, image in zip(singly, together, images, strict=True):
        assert (one.original_hw, one.input_hw) == (other.original_hw, other.input_hw)
        assert one.image_digest == other.image_digest == image_digest(image)
        features = [model.dump_features(each.features) for each in (one, other)]
        np.testing.assert_allclose(*features, atol=1e-4)
