"""The backend openvino: the masks of ONNX Runtime from the same files, in float32 and nearly so in bfloat16."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import mobilesam
from mobilesam.cores import instructions
from mobilesam.errors import InputError, MissingDependencyError
from tests.photos import photo

pytest.importorskip("openvino")
PROMPTS = ({"point_coords": [[300, 200]], "point_labels": [1]}, {"box": [60, 40, 420, 380]})
NATIVE = {"avx512_bf16", "amx_bf16"} & set(instructions() or ())


@pytest.fixture(scope="module")
def expected(onnx_sam):
    return predicted(onnx_sam)


def predicted(model):
    predictor = mobilesam.SamPredictor(model)
    predictor.set_image(photo("coffee"))
    return [predictor.predict_one(**prompt) for prompt in PROMPTS]


def lowest_iou(ours, theirs):
    pairs = zip(ours, theirs, strict=True)
    return min((a.masks & b.masks).sum() / (a.masks | b.masks).sum() for a, b in pairs)


@pytest.mark.weights
def test_masks_and_scores_are_those_of_onnx_runtime(expected, onnx_sam):
    model = mobilesam.load(backend="openvino")
    ours = predicted(model)
    assert lowest_iou(ours, expected) > 0.9995
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a.iou_predictions, b.iou_predictions, atol=1e-4)
    assert ours[0].confidence == pytest.approx(expected[0].confidence, abs=1e-3)
    assert model.weights_id == onnx_sam.weights_id
    assert model.capabilities.device == "CPU of OpenVINO"


@pytest.mark.weights
def test_exported_files_and_everything_mode_run_in_threads(exported_once, onnx_sam):
    model = mobilesam.load(exported_once, backend="openvino", threads=2)
    records, theirs = (
        mobilesam.SamAutomaticMaskGenerator(each, points_per_side=4, output_mode="coco_rle").generate(photo("coins"))
        for each in (model, onnx_sam)
    )
    assert len(records) == len(theirs) > 0
    for a, b in zip(records, theirs, strict=True):
        assert a["bbox"] == pytest.approx(b["bbox"], abs=1)
    embedding = model.encode(photo("coffee"))
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(model.encode, [photo("coffee")] * 4))
    for each in together:
        np.testing.assert_array_equal(each.features, embedding.features)


@pytest.fixture(scope="module")
def exported_once(tmp_path_factory):
    """The files that a checkpoint is bound to, as an export without PyTorch."""
    from mobilesam import weights
    from mobilesam.onnx import contract, templates

    folder = tmp_path_factory.mktemp("onnx")
    for graph, bound in zip(contract.GRAPHS, templates.bound_files(weights.ensure()), strict=True):
        (folder / graph.file_name).write_bytes(bound if isinstance(bound, bytes) else bound.read_bytes())
    return folder


@pytest.mark.weights
@pytest.mark.parametrize("recipe", ["weights", "dynamic"])
def test_quantized_files_give_the_masks_of_onnx_runtime(exported_once, tmp_path, recipe):
    from mobilesam.export.quantize import Recipe, quantize

    quantize(exported_once, tmp_path / "int8", Recipe(recipe))
    ours, theirs = (predicted(mobilesam.load(tmp_path / "int8", backend=name)) for name in ("openvino", "onnx"))
    assert lowest_iou(ours, theirs) > (0.9995 if recipe == "weights" else 0.99)


@pytest.mark.weights
@pytest.mark.skipif(not NATIVE, reason="the processor does not compute bfloat16")
def test_bfloat16_is_near_and_has_its_own_embeddings(expected, onnx_sam):
    model = mobilesam.load(backend="openvino", precision="bfloat16")
    ours = predicted(model)
    assert lowest_iou(ours, expected) > 0.98
    assert lowest_iou(ours, expected) < 1 or ours[0].iou_predictions != expected[0].iou_predictions
    assert model.weights_id != onnx_sam.weights_id
    assert model.source_weights_id == onnx_sam.source_weights_id  # so that the chooser is used
    assert ours[0].confidence is not None


def test_bfloat16_is_refused_where_it_would_be_emulated(monkeypatch):
    from mobilesam.onnx import openvino

    monkeypatch.setattr(openvino, "instructions", lambda: ["avx2", "avx512f"])
    with pytest.raises(InputError, match=r"precision must be one that the processor computes .*, got 'bfloat16'"):
        mobilesam.load(backend="openvino", precision="bfloat16")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "openvino", "provider": "cpu"}, "provider must be used with the onnx backend"),
        ({"backend": "openvino", "device": "cuda"}, "device must be cpu or auto for the backend openvino, got 'cuda'"),
        ({"backend": "openvino", "precision": "float16"}, "precision"),
        ({"backend": "onnx", "precision": "bfloat16"}, "precision must be float32 for the backend onnx, got bfloat16"),
        ({"backend": "torch", "precision": "bfloat16"}, "precision must be float32 for the backend torch"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        mobilesam.load(**arguments)


def test_without_the_package_an_error_has_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r'needs openvino, .* run: pip install "openvino'):
        mobilesam.load(backend="openvino")


def test_a_damaged_file_is_refused(tmp_path):
    from mobilesam.onnx.openvino import OpenVinoSession

    (tmp_path / "encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match=r"OpenVINO failed to open .*encoder\.onnx"):
        OpenVinoSession(tmp_path / "encoder.onnx")
