"""Bind weights to a graph template, which gives a complete ONNX file.

The inputs of a graph template include the tensors of the state dict that it uses, under their official keys. Binding
turns them into initializers and computes once what depends on weights alone (folded batch norms, transposed matrices).
It needs no knowledge of the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from mobilesam.arrays import Array
from mobilesam.errors import CheckpointError, sentence
from mobilesam.onnx.sessions import evaluate

# A constant larger than this, and larger than its inputs, is computed when the file is loaded: folding the position
# encodings and the attention biases would make the files 40 % larger and not faster.
_WORTH_LEAVING = 1 << 16
_MAX_BYTES = 1 << 30  # of the weights in a graph that computes constants


def bind_weights(template: onnx.ModelProto, state: Mapping[str, Array], metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Return a complete graph.

    Args:
        template: a graph whose inputs with a dot in their name are keys of the state dict.
        state: arrays under the official keys.
        metadata: properties to add to those of the template.

    Raises:
        CheckpointError: the state dict lacks a tensor, or has one of another shape.
    """
    model = onnx.ModelProto()
    model.CopyFrom(template)
    graph = model.graph
    weights = [value for value in graph.input if "." in value.name]
    data = [value for value in graph.input if "." not in value.name]
    graph.initializer.extend(_initializer(value, state) for value in weights)
    del graph.input[:]
    graph.input.extend(data)
    _fold(model)
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in model.metadata_props} | dict(metadata))
    return model


def _initializer(value: onnx.ValueInfoProto, state: Mapping[str, Array]) -> onnx.TensorProto:
    shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    tensor = state.get(value.name)
    if tensor is None or tensor.shape != shape:
        actual = "none" if tensor is None else f"shape {tensor.shape}"
        remedy = "use weights and graph templates of the same release"
        raise CheckpointError(sentence(f"state {value.name!r}", f"have shape {shape}", actual, remedy))
    return numpy_helper.from_array(np.ascontiguousarray(tensor, dtype=np.float32), value.name)


def _fold(model: onnx.ModelProto) -> None:
    """Replace values that depend on initializers alone by constants, unless the file grows."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    # The initializers that each constant value depends on.
    origins: dict[str, set[str]] = {name: {name} for name in constants}
    constant_nodes, other_nodes = [], []
    for node in graph.node:
        if node.input and all(name in origins for name in node.input if name):
            constant_nodes.append(node)
            for name in node.output:
                origins[name] = set().union(*(origins[given] for given in node.input if given))
        else:
            other_nodes.append(node)
    used = {name for node in other_nodes for name in node.input} | {value.name for value in graph.output}
    wanted = [name for node in constant_nodes for name in node.output if name in used]
    if not wanted:
        return
    versions = {"opset_imports": model.opset_import, "ir_version": model.ir_version}
    sizes = {name: sum(_nbytes(constants[origin]) for origin in origins[name]) for name in wanted}
    folded = {}
    for names in _batches(sizes):
        needed = set().union(*(origins[name] for name in names))
        computation = onnx.helper.make_graph(
            _needed(constant_nodes, names),
            "constants",
            [],
            [onnx.ValueInfoProto(name=name) for name in names],
            [tensor for tensor in graph.initializer if tensor.name in needed],
        )
        for name, value in zip(names, evaluate(onnx.helper.make_model(computation, **versions)), strict=True):
            if value.nbytes <= max(_WORTH_LEAVING, sizes[name]):
                folded[name] = numpy_helper.from_array(value, name)
    left = _needed(constant_nodes, [name for name in wanted if name not in folded])
    used |= {name for node in left for name in node.input}
    del graph.node[:]
    graph.node.extend([*left, *other_nodes])
    kept = {name: tensor for name, tensor in (constants | folded).items() if name in used}
    del graph.initializer[:]
    graph.initializer.extend(kept.values())


def _batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the names in parts whose sizes, in bytes, fit into one graph, and the largest ones alone."""
    part: list[str] = []
    for name, size in sizes.items():
        if part and sum(sizes[each] for each in part) + size > _MAX_BYTES:
            yield part
            part = []
        part.append(name)
    yield part


def _needed(nodes: list[onnx.NodeProto], names: list[str]) -> list[onnx.NodeProto]:
    """Return the nodes that the named values depend on, in order."""
    wanted = set(names)
    needed = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            needed.append(node)
    return needed[::-1]


def _nbytes(tensor: onnx.TensorProto) -> int:
    return int(np.prod(tensor.dims)) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
