"""Conversion to OpenVINO: TinyViT and the decoder as .xml and .bin files."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.arrays import Array, FloatArray
from mobilesam.errors import missing_dependency
from mobilesam.export.fixed_modules import Named
from mobilesam.export.targets import Files, Operators, Target
from mobilesam.export.targets.traced import quiet, trace
from mobilesam.runtimes.openvino import open_run

_XML, _BIN = ".xml", ".bin"
_SMALLEST = 2048  # Weights with fewer elements stay in float32.


def require() -> None:
    """Raise MissingDependencyError if OpenVINO is not installed."""
    try:
        import openvino  # noqa: F401
    except ImportError as error:
        raise missing_dependency("openvino", "openvino", "mobilesam export --to openvino") from error


def convert(module: Named, precision: str) -> Files:
    """Return the network and the weights of a module, with the names of its graph.

    Args:
        precision: of the weights; activations are float32.
    """
    import openvino

    graph = module.graph
    with quiet():
        model = openvino.convert_model(trace(module), example_input=tuple(module.samples().values()))
    for ports, values in ((model.inputs, graph.inputs), (model.outputs, graph.outputs)):
        for port, value in zip(ports, values, strict=True):
            port.get_tensor().set_names({value.name})
    model.reshape({value.name: [int(dim) for dim in value.shape] for value in graph.inputs})
    if precision != "float32":
        _store(model, precision)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{_XML}"
        openvino.save_model(model, path, compress_to_fp16=False)
        return {suffix: path.with_suffix(suffix).read_bytes() for suffix in (_XML, _BIN)}


def operators(files: Files) -> Operators:
    """Return what the files are made of."""
    import openvino

    model = openvino.Core().read_model(files[_XML], openvino.Tensor(np.frombuffer(files[_BIN], np.uint8)))
    nodes = model.get_ops()
    counts = Counter(node.get_type_name() for node in nodes)
    ranks = [len(port.get_partial_shape()) for node in nodes for port in node.outputs()]
    return Operators(dict(sorted(counts.items())), max(ranks))


def _store(model: Any, precision: str) -> None:
    """Store the large weights of a network in less precision, as constants that are converted to float32."""
    from openvino import opset13 as operators

    for node in model.get_ops():
        for port in node.inputs():
            source = port.get_source_output().get_node()
            axes = _summed_axes(node, port.get_index())
            if axes is None or source.get_type_name() != "Constant":
                continue
            values = source.get_data()
            if values.dtype != np.float32 or values.size < _SMALLEST:
                continue
            stored, scale = _quantized(values, axes) if precision == "int8" else (values.astype(np.float16), None)
            decoded = operators.convert(operators.constant(stored), "f32")
            decoded = decoded if scale is None else operators.multiply(decoded, operators.constant(scale))
            port.replace_source_output(decoded.output(0))


def _summed_axes(node: Any, place: int) -> tuple[int, ...] | None:
    """Return the axes of weights that an operator sums over, or None for inputs that are not weights.

    Convolutions of constants are those of position embeddings and attention biases, see
    :mod:`mobilesam.export.fixed_modules`.
    """
    kind = node.get_type_name()
    rank = len(node.input_value(place).get_partial_shape())
    if kind in ("Convolution", "GroupConvolution") and place == 1:
        of_constants = node.input_value(0).get_node().get_type_name() == "Constant"
        return None if of_constants else tuple(range(1 if kind == "Convolution" else 2, rank))
    if kind == "MatMul" and rank > 1:
        transposed = node.get_attributes()["transpose_b" if place else "transpose_a"]
        return (rank - 1 if bool(place) == transposed else rank - 2,)
    return None


def _quantized(values: FloatArray, axes: tuple[int, ...]) -> tuple[Array, FloatArray]:
    """Return integers, and the scale of each channel, for weights that are summed over these axes."""
    scale = np.abs(values).max(axis=axes, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(values / scale).astype(np.int8), scale


TARGET = Target(require, convert, operators, open_run=open_run, suffixes=(_XML, _BIN))
