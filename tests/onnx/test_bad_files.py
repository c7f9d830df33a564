"""Errors for unusable ONNX files, each made from a real one by one change."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mobilesam
from mobilesam.errors import InputError
from mobilesam.onnx import OnnxSam
from tests.photos import photo

pytestmark = pytest.mark.weights


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"", "is empty"),
        (b"hi", "looks like text beginning 'hi'"),
        (b"not an ONNX file " * 9, "looks like text beginning 'not an ONNX file not an '"),
        (b"<html><body>404</body></html>", "looks like an HTML page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "looks like a PNG"),
    ],
)
def test_a_file_that_is_no_graph_is_described(tmp_path, command, content, looks):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    message = f"ONNX file must be complete, got {path}, which {looks}; give the encoder and the decoder that"
    with pytest.raises(InputError) as caught:
        OnnxSam.from_files(path)
    assert str(caught.value).startswith(message)
    result = command("verify", path)
    assert result.code == 1
    assert message in " ".join(result.err.split())
    assert "Traceback" not in result.err


def test_a_file_whose_weights_lie_elsewhere_needs_both(pair, tmp_path):
    onnx.save(onnx.load(pair[1]), tmp_path / "decoder.onnx", save_as_external_data=True, location="decoder.data")
    assert OnnxSam.from_files([pair[0], tmp_path / "decoder.onnx"]).capabilities.masks_per_prompt == 1
    (tmp_path / "decoder.data").unlink()
    with pytest.raises(InputError, match=r"^The weights of .*decoder.onnx are in another file that cannot be read \("):
        OnnxSam.from_files([pair[0], tmp_path / "decoder.onnx"])


def test_a_decoder_of_another_kind_of_sam_is_refused(pair, tmp_path):
    model = onnx.load(pair[1])
    model.graph.input.append(helper.make_tensor_value_info("interm_embeddings", TensorProto.FLOAT, [1, 1, 64, 64, 768]))
    onnx.save(model, tmp_path / "decoder.onnx")
    with pytest.raises(
        InputError,
        match=r"ONNX file must be a part of a SAM model, got .*decoder.onnx, a graph from .*interm_embeddings",
    ):
        OnnxSam.from_files([pair[0], tmp_path / "decoder.onnx"])


def test_a_decoder_for_another_embedding_is_refused(pair, tmp_path):
    model = onnx.load(pair[1])
    set_shape(model.graph.input[0], [1, 256, 32, 32])
    onnx.save(model, tmp_path / "decoder.onnx")
    with pytest.raises(
        InputError, match=r"^ONNX Runtime failed to run the decoder with the inputs of SAM: .*INVALID_ARGUMENT"
    ):
        OnnxSam.from_files([pair[0], tmp_path / "decoder.onnx"])


def test_an_encoder_for_another_size_is_refused(pair, tmp_path):
    model = onnx.load(pair[0])
    set_shape(model.graph.input[0], [1, 3, 512, 512])
    onnx.save(model, tmp_path / "encoder.onnx")
    with pytest.raises(InputError, match=r"encoder must take \(B, 3, 1024, 1024\) or \(H, W, 3\) pixels, got .*512"):
        OnnxSam.from_files([tmp_path / "encoder.onnx", pair[1]])


def test_a_decoder_without_earlier_masks_says_so(pair, tmp_path):
    model = onnx.load(pair[1])
    absent = {"mask_input": np.zeros((1, 1, 256, 256), np.float32), "has_mask_input": np.zeros(1, np.float32)}
    kept = [value for value in model.graph.input if value.name not in absent]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in absent.items())
    onnx.save(model, tmp_path / "decoder.onnx")
    ours, whole = (OnnxSam.from_files([pair[0], path]) for path in (tmp_path / "decoder.onnx", pair[1]))
    assert (ours.capabilities.mask_input, whole.capabilities.mask_input) == (False, True)
    predictors = [mobilesam.SamPredictor(model) for model in (ours, whole)]
    for predictor in predictors:
        predictor.set_image(photo("coins"))
    a, b = (each.predict([[100, 100]], [1], multimask_output=False) for each in predictors)
    np.testing.assert_array_equal(a.low_res_logits, b.low_res_logits)
    with pytest.raises(
        InputError, match=r"mask_input must be None for this decoder, got a mask; leave it out, or write"
    ):
        predictors[0].predict([[100, 100]], [1], mask_input=a.low_res_logits, multimask_output=False)


def set_shape(value, shape):
    kind = value.type.tensor_type.elem_type
    value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shape))
