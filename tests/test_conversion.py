"""The ONNX pair turned back into a checkpoint, on the real pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mobilesam import weights
from mobilesam.errors import CheckpointError
from mobilesam.weights import onnx_pair, state_dict, tensor_files
from mobilesam.weights.state_dict import StateDict

Pair = tuple[Path, Path]


@pytest.fixture(scope="session")
def state(pair: Pair) -> StateDict:
    return onnx_pair.pair_to_state(*pair)


@pytest.mark.weights
def test_every_tensor_has_its_official_key_shape_and_dtype(state: StateDict) -> None:
    assert {key: value.shape for key, value in state.items()} == state_dict.used_shapes()
    assert {value.dtype for key, value in state.items() if not key.endswith("num_batches_tracked")} == {
        np.dtype(np.float32)
    }
    assert len(state_dict.shapes()) == 439


@pytest.mark.weights
def test_the_written_checkpoint_is_the_one_the_manifest_names(state: StateDict, tmp_path: Path) -> None:
    path = tmp_path / "mobile_sam.safetensors"
    tensor_files.write_safetensors(path, state_dict.complete(state))
    assert weights.is_listed(path)


@pytest.mark.weights
def test_the_order_of_the_two_files_does_not_matter(pair: Pair, state: StateDict) -> None:
    swapped = onnx_pair.pair_to_state(pair[1], pair[0])
    assert all(np.array_equal(swapped[key], value) for key, value in state.items())


@pytest.mark.weights
def test_the_bias_of_a_folded_convolution_is_all_its_batch_norm_does(state: StateDict) -> None:
    variances = [value for key, value in state.items() if key.endswith("bn.running_var")]
    assert len(variances) == 27
    eps = np.float32(state_dict.BATCH_NORM_EPS)
    assert all(np.array_equal(value + eps, np.ones_like(value)) for value in variances)


@pytest.mark.weights
@pytest.mark.torch
def test_the_network_with_the_converted_weights_equals_the_onnx_encoder(pair: Pair, state: StateDict) -> None:
    import onnxruntime
    import torch
    from skimage import data

    from mobilesam.config import VARIANTS
    from mobilesam.image.model_input import encoder_input
    from mobilesam.modeling import Sam
    from mobilesam.weights.checkpoint import Checkpoint, load_into

    sam = Sam(VARIANTS["vit_t"])
    load_into(sam, Checkpoint(state, "the pair"))
    pixels, _ = encoder_input(data.astronaut(), 1024)
    session = onnxruntime.InferenceSession(pair[0], providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input": pixels})
    with torch.no_grad():
        actual = sam.image_encoder(torch.from_numpy(pixels)).numpy()
    assert abs(expected).max() > 0.5
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.weights
def test_one_file_given_twice(pair: Pair) -> None:
    with pytest.raises(
        CheckpointError, match=r"sam\.onnx must have 27 folded convolutions, got \d+ in a graph from im"
    ):
        onnx_pair.pair_to_state(pair[1], pair[1])
    with pytest.raises(
        CheckpointError, match=r"encoder\.onnx must have 6 mask norms, got 4 in a graph from input to o"
    ):
        onnx_pair.pair_to_state(pair[0], pair[0])


@pytest.mark.weights
def test_a_bias_table_that_does_not_repeat_by_offset_is_refused(pair: Pair, tmp_path: Path) -> None:
    model = onnx.load(pair[0])
    table = next(
        node.attribute[0].t
        for node in model.graph.node
        if node.op_type == "Constant" and list(node.attribute[0].t.dims) == [4, 49, 49]
    )
    values = numpy_helper.to_array(table).copy()
    values[0, 7, 5] += 1
    table.CopyFrom(numpy_helper.from_array(values))
    onnx.save(model, tmp_path / "encoder.onnx")
    with pytest.raises(CheckpointError, match="must add one bias for each window offset before a softmax, got another"):
        onnx_pair.pair_to_state(tmp_path / "encoder.onnx", pair[1])


@pytest.mark.weights
def test_a_missing_tensor_is_named(pair: Pair, tmp_path: Path) -> None:
    model = onnx.load(pair[1])
    name = "mask_decoder.iou_prediction_head.layers.1.bias"
    kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.save(model, tmp_path / "sam.onnx")
    with pytest.raises(CheckpointError, match=rf"must be MobileSAM's ONNX pair, got 1 missing \({name}\);"):
        onnx_pair.pair_to_state(pair[0], tmp_path / "sam.onnx")


@pytest.mark.weights
def test_a_truncated_file(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(pair[0].read_bytes()[:1_000_000])
    with pytest.raises(CheckpointError, match=r"encoder\.onnx must be an ONNX file, got .* that is not a whole ONNX f"):
        onnx_pair.pair_to_state(path, pair[1])


def test_another_network(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.zeros((8, 3, 3, 3), np.float32), "w")
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("images", "output0")]
    graph = helper.make_graph([helper.make_node("Conv", ["images", "w"], ["output0"])], "g", *zip(tensors), [weight])
    path = tmp_path / "yolo.onnx"
    onnx.save(helper.make_model(graph), path)
    with pytest.raises(CheckpointError) as caught:
        onnx_pair.pair_to_state(path, path)
    assert str(caught.value) == (
        f"{path} must have 27 folded convolutions, got 0 in a graph from images to output0; give the encoder and the "
        "decoder that were exported from a MobileSAM checkpoint"
    )


def test_a_file_that_is_not_onnx(tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_text("<!doctype html><p>Sign in")
    with pytest.raises(CheckpointError, match=r"must be an ONNX file, got an HTML page that is not a whole ONNX file"):
        onnx_pair.pair_to_state(path, path)
    with pytest.raises(CheckpointError, match=r"absent.onnx cannot be read \(No such file or directory\)"):
        onnx_pair.pair_to_state(tmp_path / "absent.onnx", path)
