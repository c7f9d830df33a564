"""Ways to make an ONNX file smaller, from a whole float32 graph to a quantized one.

What each costs in accuracy and time is measured in docs/quantization.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from mobilesam.errors import ExportError, sentence

FloatArray = npt.NDArray[np.float32]
Feeds = dict[str, FloatArray]

# Tensors below this many elements are a thousandth of a file and stay as they are.
_SMALLEST = 2048
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")
# Statistics and sums over many values, which overflow or round badly in half precision.
_SENSITIVE_TO_HALF = ("LayerNormalization", "Softmax", "Erf", "Sin", "Cos", "ReduceMean", "Resize")


def refuse_quantized(model: onnx.ModelProto, name: str) -> None:
    """Raise ExportError if a graph holds 8-bit operators or half-precision weights already."""
    operators = {node.op_type for node in model.graph.node}.intersection(_QUANTIZED)
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    if operators or halves:
        actual = f"{name} with {', '.join(sorted(operators)) or 'half-precision weights'}"
        raise ExportError(sentence("model", "be float32 to be quantized", actual, "quantize the original export"))


def weights_only(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large weights as int8 with one scale a channel; they become float32 again before they are used.

    The channel axis of each tensor is the one that loses least.
    """
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    graph = quantized.graph
    kept, decoders = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or values.size < _SMALLEST:
            kept.append(tensor)
            continue
        axis, integers, scale = _per_channel(values)
        names = [f"{tensor.name}_int8", f"{tensor.name}_scale"]
        kept += [numpy_helper.from_array(integers, names[0]), numpy_helper.from_array(scale, names[1])]
        decoders.append(helper.make_node("DequantizeLinear", names, [tensor.name], f"{tensor.name}_decode", axis=axis))
    nodes = [*decoders, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    return quantized


def _per_channel(values: FloatArray) -> tuple[int, npt.NDArray[np.int8], FloatArray]:
    """Return the axis of the channels, the integers and the scale of each channel."""
    best: tuple[float, int, npt.NDArray[np.int8], FloatArray] | None = None
    for axis in range(values.ndim):
        others = tuple(each for each in range(values.ndim) if each != axis)
        scale = np.abs(values).max(axis=others, keepdims=True) / np.float32(127)
        scale[scale == 0] = 1
        integers = np.rint(values / scale).astype(np.int8)
        error = float(np.square(integers * scale - values).sum())
        if best is None or error < best[0]:
            best = error, axis, integers, scale.reshape(-1).astype(np.float32)
    assert best is not None
    return best[1:]


def dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Multiply matrices in int8, with activations quantized as they come; convolutions stay in float32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def run(source: Path, target: Path) -> None:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )

    return _through_files(model, run)


def static(
    model: onnx.ModelProto, feeds: Sequence[Feeds], operators: Sequence[str], excluded: Iterable[str] = ()
) -> onnx.ModelProto:
    """Compute the named operators in int8, activations by ranges seen on samples, weights by channel.

    Args:
        feeds: inputs to calibrate on.
        operators: types of operators to quantize.
        excluded: names of nodes to leave in float32.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds: Iterator[Feeds] = iter(feeds)

        def get_next(self) -> Feeds | None:
            return next(self._feeds, None)

    def run(source: Path, target: Path) -> None:
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(operators),
            nodes_to_exclude=sorted(excluded),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )

    return _through_files(model, run)


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute in float16, but for norms, softmax and what else overflows; inputs and outputs stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted: onnx.ModelProto = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=list(_SENSITIVE_TO_HALF)
    )
    return converted


def _through_files(model: onnx.ModelProto, run: Callable[[Path, Path], Any]) -> onnx.ModelProto:
    """Apply a function of onnxruntime that reads and writes files."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        onnx.save(model, source)
        run(source, target)
        return onnx.load(target)
