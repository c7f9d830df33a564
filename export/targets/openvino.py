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
_SMALLEST = 2048  # Weights with fewer elements, among them those of position embeddings, stay in float32.


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
        if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() != "f32":
            continue
        values = node.get_data()
        if values.ndim < 2 or values.size < _SMALLEST:
            continue
        targets = node.output(0).get_target_inputs()
        stored, scale = _quantized(values, targets) if precision == "int8" else (values.astype(np.float16), None)
        decoded = operators.convert(operators.constant(stored), "f32")
        decoded = decoded if scale is None else operators.multiply(decoded, operators.constant(scale))
        for each in targets:
            each.replace_source_output(decoded.output(0))


def _quantized(values: FloatArray, targets: Any) -> tuple[Array, FloatArray]:
    """Return integers, and a scale for each output channel of the operator that takes the weights."""
    axis = _output_axis(next(iter(targets)), values.ndim)
    others = tuple(each for each in range(values.ndim) if each != axis)
    scale = np.abs(values).max(axis=others, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(values / scale).astype(np.int8), scale


def _output_axis(target: Any, rank: int) -> int:
    """Return the axis of weights along which scales change the outputs alone; the first one but for products."""
    node = target.get_node()
    if node.get_type_name() != "MatMul":
        return 0
    first = target.get_index() == 0
    transposed = node.get_attributes()["transpose_a" if first else "transpose_b"]
    return rank - 2 if first != transposed else rank - 1


TARGET = Target(require=require, convert=convert, operators=operators, open_run=open_run)
