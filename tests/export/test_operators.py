"""What the exported graphs are made of: operators and ranks that browsers, phones and other runtimes take."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest

from mobilesam.config import VARIANTS
from mobilesam.export.plan import Plan
from mobilesam.export.wrappers import Job, ToolDecoder, jobs
from mobilesam.modeling import Sam
from mobilesam.onnx import OnnxSam, contract
from mobilesam.onnx.sessions import open_session
from tests.photos import photo

pytestmark = pytest.mark.torch

PLANS = {
    "default": Plan(),
    "any size": Plan(dynamic_size=True),
    "one decoder": Plan(parts=("encoder", "decoder")),
    "a single mask": Plan(parts=("decoder",), return_single_mask=True),
    "low resolution": Plan(parts=("decoder",), low_res_only=True),
    "metrics": Plan(parts=("decoder",), return_extra_metrics=True),
    "bytes": Plan(parts=("encoder",), preprocess="uint8"),
}
REFUSED = {"GatherND", "Expand", "ConvTranspose", "ScatterND", "NonZero"}


def faults(model):
    """Return what a graph has that it should not have."""
    model = onnx.shape_inference.infer_shapes(model, data_prop=True, strict_mode=True)
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
    ranks |= {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    outputs = {name for node in model.graph.node for name in node.output if name}
    assert outputs <= ranks.keys(), f"ranks are not known: {sorted(outputs - ranks.keys())}"
    faulty = {f"{name} has rank {rank}" for name, rank in ranks.items() if rank > 4}
    faulty |= {node.op_type for node in model.graph.node if node.op_type in REFUSED}
    return faulty | {f"{node.op_type} of {node.domain}" for node in model.graph.node if node.domain}


def all_faults(sam, plan, jobs_of=jobs):
    from mobilesam.export.exporter import make_graphs

    return {each.name: faults(onnx.load_from_string(each.files[each.name])) for each in make_graphs(sam, plan, jobs_of)}


@pytest.mark.weights
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_no_graph_has_a_refused_operator_or_a_tensor_above_rank_four(sam, plan):
    assert not any(all_faults(sam, plan).values())


@pytest.mark.weights
def test_nor_has_the_decoder_of_tools(sam):
    graph = contract.decoder(return_single_mask=True)
    assert not any(all_faults(sam, Plan(), lambda _, sam: [Job(graph, ToolDecoder(sam))]).values())


def test_nor_has_the_encoder_of_sam():
    config = VARIANTS["vit_b"]
    small = dataclasses.replace(config.encoder, depth=2, global_blocks=(1,), embed_dim=48, num_heads=2)
    sam = Sam(dataclasses.replace(config, encoder=small)).eval()
    assert not any(all_faults(sam, Plan(parts=("encoder",))).values())


def test_the_check_sees_them():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, 2, 3, 4] x, int64[5] five) => (float[1, 1, 2, 3, 4] z) { z = Expand (x, five) }"""
    assert faults(onnx.parser.parse_model(text)) == {"Expand", "z has rank 5"}


@pytest.mark.weights
@pytest.mark.parametrize("count", [1, 2, 4])
def test_absent_points_change_nothing_in_a_file(exported, sam, tmp_path, count):
    from mobilesam.export.exporter import export_onnx

    single = export_onnx(sam, tmp_path, Plan(parts=("decoder",), return_single_mask=True))[0].path
    features = OnnxSam.from_files(exported).encode(photo("coffee")).features
    for labels, points in (([1], [[500, 300]]), ([2, 3], [[300, 200], [700, 600]])):
        short = {**feeds(features), "point_coords": np.array([[*points, [0, 0]]], np.float32)}
        short["point_labels"] = np.array([[*labels, -1]], np.float32)
        long = dict(short)
        long["point_coords"] = np.concatenate([short["point_coords"], np.full((1, count, 2), 77, np.float32)], axis=1)
        long["point_labels"] = np.concatenate([short["point_labels"], np.full((1, count), -2, np.float32)], axis=1)
        for path in (exported / "decoder.onnx", single):
            session = open_session(path, "cpu")
            for expected, actual in zip(session.run(None, short), session.run(None, long), strict=True):
                np.testing.assert_allclose(actual, expected, atol=2e-4, rtol=0)


def feeds(features):
    return {
        "image_embeddings": features,
        "mask_input": contract.NO_MASK,
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.array([400, 600], np.float32),
    }
