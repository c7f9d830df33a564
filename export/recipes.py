"""Recipes that quantize a float32 ONNX graph.

docs/quantization.md lists their sizes, times and accuracies.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from mobilesam.arrays import Array, FloatArray
from mobilesam.errors import ExportError, MissingDependencyError, sentence
from mobilesam.versions import installed_version

Feeds = dict[str, Array]


class Recipe(StrEnum):
    """How a graph is quantized.

    weights: large weights stored as int8 with one scale per channel, and computed in float32.
    dynamic: matrix products in int8, with ranges of activations measured at each run; other weights as in "weights".
    static: operators in int8 with ranges measured on images, except those that lose most; others as in "weights".
    half: float16, except norms, softmax and other operators that overflow; for GPUs.
    """

    weights = "weights"
    dynamic = "dynamic"
    static = "static"
    half = "half"


# The precision in the metadata of a file.
PRECISION = {
    Recipe.weights: "int8 weights",
    Recipe.dynamic: "int8 dynamic",
    Recipe.static: "int8 static",
    Recipe.half: "float16",
}
# The types of operators that are computed in int8, by recipe.
OPERATORS = {Recipe.dynamic: ("MatMul", "Gemm"), Recipe.static: ("Conv", "MatMul", "Gemm")}

# Tensors with fewer elements are a thousandth of a file and stay in float32.
_SMALLEST = 2048
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")
# Statistics, sums over many values, and positions in an image, which overflow or lose precision in float16.
_SENSITIVE_TO_HALF = (
    *("LayerNormalization", "Softmax", "Exp", "Erf", "Sin", "Cos", "ReduceMean", "ReduceSum", "ReduceMax"),
    *("Resize", "Range", "GatherND", "ScatterND", "Where"),
)


def refuse_quantized(model: onnx.ModelProto, name: str) -> None:
    """Raise ExportError if a graph has 8-bit operators or weights, or half-precision weights, already."""
    operators = {node.op_type for node in model.graph.node}.intersection(_QUANTIZED)
    small = (onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    weights = any(tensor.data_type in small and np.prod(tensor.dims) > 1 for tensor in model.graph.initializer)
    if operators or weights:
        actual = f"{name} with {', '.join(sorted(operators)) or '8-bit or half-precision weights'}"
        raise ExportError(sentence("model", "be float32 to be quantized", actual, "quantize the original export"))


def store_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph with large weights stored as int8 with one scale per channel.

    Scales of matrix products are those of output channels, because OpenVINO multiplies wrong by weights of a Gemm whose
    scales are along its inputs. Of other tensors, the channel axis is the one with the smallest error. A cast and a
    product restore float32. Runtimes compute them once when they open the file, so inference is as fast as before; ONNX
    Runtime would run a DequantizeLinear at each inference.
    """
    stored = onnx.ModelProto()
    stored.CopyFrom(model)
    graph = stored.graph
    axes = _output_axes(graph)
    kept, decoders = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or values.size < _SMALLEST:
            kept.append(tensor)
            continue
        integers, scale = _per_channel(values, axes.get(tensor.name, range(values.ndim)))
        names = [f"{tensor.name}.{suffix}" for suffix in ("int8", "scale", "whole")]
        kept += [numpy_helper.from_array(integers, names[0]), numpy_helper.from_array(scale, names[1])]
        decoders += [
            helper.make_node("Cast", [names[0]], [names[2]], names[2], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [names[2], names[1]], [tensor.name], tensor.name),
        ]
    nodes = [*decoders, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    return stored


def _output_axes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Return the axis of output channels of each tensor that a matrix product multiplies by."""
    axes = {}
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm"):
            transposed = any(each.name == "transB" and each.i for each in node.attribute)
            axes[node.input[1]] = [0 if transposed else -1]
    return axes


def _per_channel(values: FloatArray, axes: Iterable[int]) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """Return integers and scales, with the dimensions of the values, whose product is closest to the values.

    Args:
        axes: those that may be the axis of channels.
    """
    candidates = []
    for axis in axes:
        axis %= values.ndim
        others = tuple(each for each in range(values.ndim) if each != axis)
        scale = np.abs(values).max(axis=others, keepdims=True) / np.float32(127)
        scale[scale == 0] = 1
        integers = np.rint(values / scale).astype(np.int8)
        candidates.append((float(np.square(integers * scale - values).sum()), integers, scale))
    return min(candidates, key=lambda candidate: candidate[0])[1:]


def with_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with unique names of nodes."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    for index, node in enumerate(named.graph.node):
        node.name = f"{node.op_type}_{index}"
    return named


def products(model: onnx.ModelProto, operators: Sequence[str]) -> list[str]:
    """Return the names of the nodes of these types that multiply by weights, in order."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in operators and ranks.get(node.input[1]) in ((4,) if node.op_type == "Conv" else (2,))
    ]


def dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph with matrix products in int8 and activations quantized at each run; convolutions in float32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model, operators = with_names(model), list(OPERATORS[Recipe.dynamic])
    if not (nodes := products(model, operators)):
        return model
    options = {"per_channel": True, "weight_type": QuantType.QInt8, "nodes_to_quantize": nodes}
    return _through_files(model, lambda source, target: quantize_dynamic(source, target, operators, **options))


def refuse_old_runtime() -> None:
    """Raise MissingDependencyError if the installed ONNX Runtime cannot load saved ranges."""
    from onnxruntime.quantization import quantize_static

    if "calibration_cache_path" not in inspect.signature(quantize_static).parameters:
        raise MissingDependencyError(
            f"The recipe static needs onnxruntime 1.27 or newer, and {installed_version('onnxruntime')} is installed. "
            "Run: pip install --upgrade onnxruntime"
        )


def static(
    model: onnx.ModelProto, feeds: Iterable[Feeds], nodes: Sequence[str], cache: Path | None = None
) -> onnx.ModelProto:
    """Return a graph with nodes in int8: activations by the ranges of samples, weights by channel.

    Args:
        feeds: inputs that give the ranges.
        nodes: names of nodes.
        cache: a file for the ranges; if it exists, the inputs are not used.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds: Iterator[Feeds] = iter(feeds)

        def get_next(self) -> Feeds | None:
            return next(self._feeds, None)

    options = {
        "quant_format": QuantFormat.QDQ,
        "op_types_to_quantize": list(OPERATORS[Recipe.static]),
        "nodes_to_quantize": list(nodes),
        "per_channel": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "calibration_cache_path": cache,
    }
    return _through_files(model, lambda source, target: quantize_static(source, target, Reader(), **options))


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph in float16, except operators that overflow; inputs and outputs stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    with _quiet():
        converted: onnx.ModelProto = convert_float_to_float16(
            model, keep_io_types=True, op_block_list=list(_SENSITIVE_TO_HALF)
        )
        sorter = OnnxModel(converted)  # the converter appends casts behind the nodes that need them
        sorter.topological_sort()
    sorted_model: onnx.ModelProto = sorter.model
    return sorted_model


def _through_files(model: onnx.ModelProto, run: Callable[[Path, Path], object]) -> onnx.ModelProto:
    """Apply a function of onnxruntime that reads and writes files."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        onnx.save(model, source)
        run(source, target)
        return onnx.load(target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop log records of ONNX Runtime's tools below errors, which recommend tools that this package does not need.

    The tools log to the root logger and to their own; records of other modules pass. ``logging.warning`` adds a handler
    to a root logger without handlers, so the root logger temporarily gets the handler that Python uses in that case.
    """
    import onnxruntime

    folder = str(Path(onnxruntime.__file__).parent)

    def passes(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or not record.pathname.startswith(folder)

    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(f"onnxruntime.transformers.{name}") for name in ("float16", "onnx_model"))]
    handlers = [] if root.handlers else [logging.lastResort or logging.NullHandler()]
    for handler in handlers:
        root.addHandler(handler)
    for logger in loggers:
        logger.addFilter(passes)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(passes)
        for handler in handlers:
            root.removeHandler(handler)
