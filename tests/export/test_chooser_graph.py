"""The chooser as an ONNX graph: NumPy's confidences, and operators that browsers and phones have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import mobilesam
from mobilesam.config import ALL_MASKS
from mobilesam.errors import InputError
from mobilesam.masks import chooser
from mobilesam.prompts.arrays import make_prompts
from tests.photos import photo

pytestmark = [pytest.mark.torch, pytest.mark.weights]


@pytest.fixture(scope="module")
def folder(sam, tmp_path_factory) -> Path:
    from mobilesam.export import Plan, export_onnx

    out = tmp_path_factory.mktemp("chooser")
    (exported,) = export_onnx(sam, out, Plan(parts=("chooser",)))
    assert exported.error < 1e-5
    return out


def run(
    folder: Path, logits: np.ndarray, ious: np.ndarray, points: np.ndarray, hw: tuple[int, int]
) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(folder / "chooser.onnx", providers=["CPUExecutionProvider"])
    feeds = {
        "low_res_masks": logits[None],
        "iou_predictions": ious[None],
        "point_coords": points[None],
        "orig_im_size": np.array(hw, np.float32),
    }
    return session.run(["index", "confidence", "confidences"], feeds)


def test_it_has_the_operators_that_runtimes_have(folder: Path) -> None:
    model = onnx.load(folder / "chooser.onnx")
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert not {node.op_type for node in model.graph.node} & {"GatherND", "Expand", "ConvTranspose"}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    ranks = [len(value.type.tensor_type.shape.dim) for value in inferred.graph.value_info]
    assert ranks
    assert max(ranks) <= 4
    assert (folder / "chooser.onnx").stat().st_size < 60_000
    entry = json.loads((folder / "manifest.json").read_text())
    assert "chooser" in json.dumps(entry)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "coffee_portrait", "coins"])
def test_it_chooses_the_mask_that_numpy_chooses(folder: Path, onnx_sam, name: str) -> None:
    image = photo(name)
    embedding = onnx_sam.encode(image)
    height, width = embedding.original_hw
    for x, y in np.random.default_rng(0).uniform((0, 0), (width, height), (8, 2)):
        prompts, _ = make_prompts([[x, y]], [1], original_hw=embedding.original_hw, input_hw=embedding.input_hw)
        logits, ious = (part[0] for part in onnx_sam.decode(embedding, prompts, ALL_MASKS))
        index, confidence, confidences = run(folder, logits, ious, prompts.point_coords[0], (height, width))
        expected = chooser.confidences(logits, ious, prompts.point_coords[0, 0], embedding.input_hw)
        np.testing.assert_allclose(confidences[0], expected, atol=1e-5)
        assert index[0] == expected.argmax()
        assert confidence[0] == confidences[0].max()


@pytest.mark.parametrize("value", [-9.0, 9.0, np.nan, np.inf])
@pytest.mark.parametrize("xy", [(512, 384), (-1e30, 5), (3000, 3000)])
def test_odd_masks_and_points(folder: Path, value: float, xy: tuple[float, float]) -> None:
    logits, ious = np.full((4, 256, 256), value, np.float32), np.array([np.nan, 0.5, 0.6, 0.7], np.float32)
    _, _, confidences = run(folder, logits, ious, np.array([xy], np.float32), (300, 400))
    np.testing.assert_allclose(confidences[0], chooser.confidences(logits, ious, xy, (768, 1024)), atol=1e-5)


def test_a_folder_with_it_is_a_model_and_is_quantized(sam, tmp_path: Path) -> None:
    from mobilesam.export import Plan, export_onnx
    from mobilesam.export.quantize import Recipe, quantize

    export_onnx(sam, tmp_path / "float", Plan(parts=("encoder", "split_decoder", "chooser")))
    files = quantize(tmp_path / "float", tmp_path / "int8", Recipe.weights)
    assert {file.role for file in files} == {"encoder", "image", "score", "upscale"}
    assert (tmp_path / "int8/chooser.onnx").read_bytes() == (tmp_path / "float/chooser.onnx").read_bytes()
    for name in ("float", "int8"):
        predictor = mobilesam.SamPredictor(mobilesam.load(tmp_path / name))
        predictor.set_image(photo("coffee"))
        assert predictor.predict_one([[300, 200]], [1]).confidence is not None


def test_other_weights_have_no_chooser(sam, tmp_path: Path) -> None:
    import copy

    import torch

    from mobilesam.export import Plan, export_onnx

    network = copy.deepcopy(sam)
    with torch.no_grad():
        network.mask_decoder.iou_token.weight += 0.5
    with pytest.raises(InputError, match="parts must be without chooser for these weights, got chooser; leave it out"):
        export_onnx(network, tmp_path, Plan(parts=("chooser",)))
    assert not list(tmp_path.iterdir())
