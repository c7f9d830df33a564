"""Trace a module to a graph template with the exporter of PyTorch."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import onnx
import onnx_ir
import torch
from onnxscript import opset18, optimizer, rewriter
from onnxscript.rewriter.rules.common import _remove_expand_before_binary_op as expands
from torch.nn.attention import SDPBackend, sdpa_kernel

from mobilesam._version import __version__
from mobilesam.errors import ExportError, InputError, sentence
from mobilesam.export.wrappers import Wrapper
from mobilesam.onnx import contract

op: Any = opset18  # its annotations lack the plain numbers that it takes as well
_BASE_OPSET = 18  # of PyTorch's exporter, which converts it to newer ones
_OLDER_IR_VERSION = 8  # of ONNX's files when opset 17 was new: runtimes refuse newer ones than they know
# Attributes that opset 18 introduced, which PyTorch's exporter writes with their default values.
_DEFAULTS_OF_18 = {
    "ReduceMax": ("noop_with_empty_axes",),
    "Resize": ("antialias", "keep_aspect_ratio_policy"),
    "Split": ("num_outputs",),
}
_PARAMETERS = "sam."
# Sizes of named dimensions while tracing; a size of 1 would become a constant.
_SAMPLE_SIZES = {"batch": 2, "images": 2, "prompts": 2, "points": 3, "num_points": 3, "height": 768, "width": 1024}
_SAMPLE_SIZES |= {"rows": 43, "columns": 61}
_PATCH = 16


def trace(module: Wrapper, graph: contract.Graph, opset: int, *, gelu_approximate: bool = False) -> onnx.ModelProto:
    """Return the graph template of a module, in which the weights are inputs under their official keys.

    Args:
        graph: its names and shapes.
        opset: version of ONNX's operators.
        gelu_approximate: use the tanh formula, for runtimes without the error function.

    Raises:
        ExportError: the model is in training mode, or the opset is not one of :data:`mobilesam.onnx.contract.OPSETS`.
    """
    if module.sam.training:
        raise ExportError(sentence("model", "be in eval mode to be exported", "training mode", "call model.eval()"))
    if opset not in contract.OPSETS:
        bounds = f"be {contract.OPSETS[0]} to {contract.OPSETS[-1]}"
        raise ExportError(sentence("opset", bounds, opset, f"use {contract.DEFAULT_OPSET}"))
    inputs, shapes = tuple(samples(graph)), tuple(_varying(graph))
    gelu = _gelu_tanh if gelu_approximate else _gelu
    # The plain formula of attention, because the memory layout of the fused kernels cannot be exported.
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), _quiet():
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            optimize=False,
            verbose=False,
            opset_version=max(opset, _BASE_OPSET),
            input_names=graph.input_names,
            output_names=graph.output_names,
            dynamic_shapes=shapes,
            custom_translation_table={torch.ops.aten.gelu.default: gelu, torch.ops.aten.softmax.int: _softmax},
        )
    assert program is not None
    return _finish(program.model, module, graph, opset)


def join(head: onnx.ModelProto, body: onnx.ModelProto, graph: contract.Graph) -> onnx.ModelProto:
    """Return one graph, with the names of ``graph``, in which the output of ``head`` is the input of ``body``."""
    io_map = [(head.graph.output[0].name, body.graph.input[0].name)]
    joined = onnx.compose.merge_models(head, body, io_map, prefix1="head_", producer_name="mobilesam")
    del joined.opset_import[1:]  # both graphs have the same opset
    joined.producer_version, joined.graph.name = __version__, body.graph.name
    (name,) = graph.input_names
    rename_inputs(joined.graph, {f"head_{name}": name})
    joined.graph.input[0].name = name
    _name_dims(joined.graph, graph)
    return joined


def rename_input(model: onnx.ModelProto, name: str, new_name: str) -> onnx.ModelProto:
    """Rename an input of a graph, in place.

    Raises:
        InputError: another tensor of the graph has the name.
    """
    graph = model.graph
    tensors = {name for node in graph.node for name in (*node.input, *node.output)}
    if new_name in tensors | {value.name for value in (*graph.input, *graph.output)}:
        remedy = "choose another name"
        raise InputError(sentence("input_name", "not be that of another tensor of the graph", new_name, remedy))
    rename_inputs(graph, {name: new_name})
    next(value for value in graph.input if value.name == name).name = new_name
    return model


def samples(graph: contract.Graph) -> list[torch.Tensor]:
    """Return inputs of the right shapes and types, all ones."""
    return [
        torch.ones([_SAMPLE_SIZES[dim] if isinstance(dim, str) else dim for dim in value.shape], dtype=_dtype(value))
        for value in graph.inputs
    ]


def _varying(graph: contract.Graph) -> list[dict[int, Any] | None]:
    """Return the varying dimensions of each input."""
    symbols = dict[str, Any]()
    if any("prompts" in value.shape for value in graph.inputs):
        # There are 1 or as many images as prompts. The graph is traced with the latter, and one image broadcasts.
        symbols["images"] = symbols["prompts"] = torch.export.Dim("prompts")
    shapes: list[dict[int, Any] | None] = []
    for value in graph.inputs:
        varying = {}
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, str):
                # The sides of normalized pixels are multiples of the patch size.
                in_patches = dim in ("height", "width") and len(value.shape) == 4
                symbol = symbols.setdefault(dim, torch.export.Dim(f"{dim}_in_patches" if in_patches else dim))
                varying[axis] = _PATCH * symbol if in_patches else symbol
        shapes.append(varying or None)
    return shapes


def _dtype(value: contract.Value) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, value.dtype)
    return dtype


def _finish(model: onnx_ir.Model, module: Wrapper, graph: contract.Graph, opset: int) -> onnx.ModelProto:
    """Turn weights into inputs, simplify the graph, and remove the metadata of the tracing."""
    keys = set(module.state_dict())
    weights = [value for value in model.graph.initializers.values() if value.name in keys]
    for value in weights:
        assert value.name is not None
        del model.graph.initializers[value.name]
        value.const_value = None
        value.name = value.name.removeprefix(_PARAMETERS)
        model.graph.inputs.append(value)
    # A second round of the optimizer changes nothing here, and the rules below leave only constants to fold.
    optimizer.optimize_ir(model, num_iterations=1)
    rewriter.rewrite(model, expands.expand_before_binary_op_rules)
    optimizer.fold_constants(model)
    optimizer.remove_unused_nodes(model)
    proto = onnx_ir.to_proto(model)
    _share_constants(proto.graph)
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    # The shapes of intermediate values are those of the sample; runtimes infer them.
    del proto.graph.value_info[:]
    _name_dims(proto.graph, graph)
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    proto.graph.name = f"mobilesam_{graph.role}"
    proto.producer_name, proto.producer_version = "mobilesam", __version__
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    return at_opset(proto, opset)


def _share_constants(graph: onnx.GraphProto) -> None:
    """Merge equal initializers."""
    first: dict[bytes, str] = {}
    renamed = {}
    for tensor in graph.initializer:
        content = onnx.TensorProto()
        content.CopyFrom(tensor)
        content.name = ""
        renamed[tensor.name] = first.setdefault(content.SerializeToString(deterministic=True), tensor.name)
    rename_inputs(graph, renamed)
    kept = [tensor for tensor in graph.initializer if renamed[tensor.name] == tensor.name]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def rename_inputs(graph: onnx.GraphProto, new_names: Mapping[str, str]) -> None:
    """Make the nodes of a graph read other values, by the names of those they read now."""
    for node in graph.node:
        node.input[:] = [new_names.get(name, name) for name in node.input]


def _name_dims(proto: onnx.GraphProto, graph: contract.Graph) -> None:
    """Set the shapes of inputs and outputs to those of the contract."""
    shapes = {value.name: value.shape for value in (*graph.inputs, *graph.outputs)}
    for value in (*proto.input, *proto.output):
        if value.name in shapes:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, shapes[value.name]))


def at_opset(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return a graph of opset 18 or newer at an opset.

    A graph without features of opset 18 is converted to 17 by changing the version; the checker confirms it.

    Raises:
        ExportError: the graph needs opset 18.
    """
    if opset >= _BASE_OPSET:
        return proto
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "ReduceMax":
            axes = onnx.numpy_helper.to_array(constants[node.input.pop()]).tolist()
            node.attribute.append(onnx.helper.make_attribute("axes", axes))
        defaults = _DEFAULTS_OF_18.get(node.op_type, ())
        kept = [attribute for attribute in node.attribute if attribute.name not in defaults]
        del node.attribute[:]
        node.attribute.extend(kept)
    for imported in proto.opset_import:
        if not imported.domain:
            imported.version = opset
    proto.ir_version = _OLDER_IR_VERSION
    try:
        onnx.checker.check_model(proto, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"The graph needs opset {_BASE_OPSET} ({error}). Use --opset {_BASE_OPSET}.") from error
    return proto


def _gelu(x: Any, approximate: str = "none") -> Any:
    """Translate GELU to the order of operations that ONNX Runtime fuses."""
    one = op.CastLike(1.0, x)
    return op.Mul(op.Mul(x, op.Add(op.Erf(op.Div(x, op.CastLike(math.sqrt(2), x))), one)), op.CastLike(0.5, x))


def _softmax(x: Any, dim: int, dtype: int = -1) -> Any:
    """Translate softmax; along other axes than the last to its formula, because ONNX Runtime would transpose twice."""
    if dim in (-1, len(x.shape) - 1):
        return op.Softmax(x, axis=-1)
    axes = op.Constant(value_ints=[dim])
    powers = op.Exp(op.Sub(x, op.ReduceMax(x, axes, keepdims=1)))
    return op.Div(powers, op.ReduceSum(powers, axes, keepdims=1))


def _gelu_tanh(x: Any, approximate: str = "none") -> Any:
    """Translate GELU to its tanh approximation (Hendrycks & Gimpel 2016)."""
    cube = op.Mul(x, op.Mul(x, x))
    inner = op.Add(x, op.Mul(cube, op.CastLike(0.044715, x)))
    tanh = op.Tanh(op.Mul(inner, op.CastLike(math.sqrt(2 / math.pi), x)))
    return op.Mul(op.Mul(x, op.Add(tanh, op.CastLike(1.0, x))), op.CastLike(0.5, x))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop the exporter's progress lines and warnings about deprecations within PyTorch."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
