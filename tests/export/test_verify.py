"""``mobilesam verify``: small errors are reported, large ones fail."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mobilesam.export.cases import SHAPES, cases, synthetic_image

pytestmark = [pytest.mark.torch, pytest.mark.weights]


def test_cases_cover_what_they_promise():
    ratios = {height / width for height, width in SHAPES.values()}
    assert len(ratios) == 5
    assert min(ratios) == 0.25
    assert max(ratios) == 6
    counts = {len(case.prompt["point_labels"]) for case in cases("square") if "point_labels" in case.prompt}
    assert counts == {1, 2, 5, 9}
    assert {case.name for case in cases("strip")} >= {"box", "box and point", "earlier mask"}
    for shape, size in SHAPES.items():
        assert synthetic_image(shape).shape == (*size, 3)


@pytest.mark.slow
def test_an_export_is_as_good_as_the_network(exported, command):
    result = command("verify", exported, "--json")
    rows = {row["output"]: row for row in json.loads(result.out)}
    assert result.code == 0
    assert rows["low_res_masks, same embedding"]["error"] < 2e-3
    assert rows["low_res_masks, same embedding"]["cases"] == 2 * 5 * 7
    assert rows["iou_predictions, same embedding"]["error"] < 1e-4
    assert rows["low_res_masks, end to end"]["error"] < 1e-2
    assert rows["iou_predictions, end to end"]["error"] < 1e-3
    assert rows["mask pixels, end to end"]["error"] <= 1e-4
    assert rows["masks in the graph"]["error"] < 2e-3


def test_a_wrong_weight_is_found(exported, tmp_path, command):
    model = onnx.load(exported / "decoder.onnx")
    (tensor,) = [each for each in model.graph.initializer if each.name.endswith("iou_prediction_head.layers.2.bias")]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(0.01), tensor.name))
    onnx.save(model, tmp_path / "decoder.onnx")
    result = command("verify", tmp_path / "decoder.onnx", "--backend", "onnx")
    assert result.code == 1
    lines = {line[:34].strip(): line for line in result.out.splitlines()}
    assert "1.0e-02  limit 1e-04  FAILED" in lines["iou_predictions, same embedding"]
    assert "ok" in lines["low_res_masks, same embedding"]
    assert "image_embeddings" not in lines


def test_what_is_no_model_is_refused(tmp_path, command):
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x08" + b"not an ONNX file" * 9)
    result = command("verify", tmp_path / "broken.onnx")
    assert result.code == 1
    assert "ONNX file must be complete, got" in result.err

    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "other", [value], [output])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "other.onnx")
    result = command("verify", tmp_path / "other.onnx")
    assert result.code == 1
    assert "must be a part of a SAM model, got" in result.err
    assert "a graph from x to y; give the encoder and the decoder" in result.err
