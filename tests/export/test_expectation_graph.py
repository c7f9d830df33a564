"""The expectation of everything mode as an ONNX graph: NumPy's values, and refused for other weights."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest

from mobilesam.automatic import expected_masks
from mobilesam.errors import InputError
from mobilesam.onnx.sessions import open_session
from tests.photos import photo

pytestmark = [pytest.mark.torch, pytest.mark.weights]


def test_its_values_are_those_that_the_modes_use(sam, onnx_sam, tmp_path):
    from mobilesam.export import Plan, export_onnx

    (written,) = export_onnx(sam, tmp_path, Plan(parts=("expectation",)))
    assert written.error < 1e-4
    assert written.path.stat().st_size < 200_000
    model = onnx.load(written.path)
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu", "Neg", "Softplus"}
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    features = onnx_sam.encode(photo("coffee")).features
    (rates,) = open_session(written.path, "cpu").run(None, {"image_embeddings": features})
    columns, rows = np.array([3, 20, 63]), np.array([5, 31, 0])
    expected, *_ = expected_masks.expectation(features[0][:, rows, columns].T, "fast")
    np.testing.assert_allclose(rates[0][:, rows, columns], expected, atol=1e-4)


def test_other_weights_are_refused(sam, tmp_path):
    import torch

    from mobilesam.export import Plan, export_onnx

    other = copy.deepcopy(sam)
    torch.nn.init.zeros_(other.mask_decoder.iou_token.weight)
    with pytest.raises(InputError, match=r"parts must be without expectation for these weights, got expectation"):
        export_onnx(other, tmp_path, Plan(parts=("expectation",)))
    assert not list(tmp_path.iterdir())
