"""An ONNX graph of fixed shapes as a module, so that what was written in ONNX can be converted to other runtimes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

Operator = Callable[..., Tensor]


class OnnxModule(nn.Module):
    """Runs the nodes of a graph one by one.

    Axes, shapes and indices have to be constants. They become numbers of the module, and are not computed.

    Args:
        graph: with the operators of :data:`_OPERATORS`.
        outputs: the names of the results; nodes that they do not need are left out.
    """

    def __init__(self, graph: onnx.GraphProto, outputs: list[str]) -> None:
        super().__init__()
        needed = set(outputs)
        self.nodes: list[onnx.NodeProto] = []
        for node in reversed(graph.node):
            if needed.intersection(node.output):
                self.nodes.insert(0, node)
                needed.update(node.input)
        self.input_names = [value.name for value in graph.input]
        self.outputs = outputs
        self.numbers: dict[str, list[int]] = {}
        self.constants = []
        for tensor in graph.initializer:
            value = numpy_helper.to_array(tensor).copy()
            if tensor.data_type == TensorProto.INT64:
                self.numbers[tensor.name] = value.reshape(-1).tolist()
            elif tensor.name in needed:
                self.constants.append(tensor.name)
                self.register_buffer(f"constant_{tensor.name}", torch.from_numpy(value))
        self.eval()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs; inputs are in the order of the graph."""
        values: dict[str, Any] = {**self.numbers, **dict(zip(self.input_names, inputs, strict=True))}
        values |= {name: getattr(self, f"constant_{name}") for name in self.constants}
        for node in self.nodes:
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            values[node.output[0]] = _OPERATORS[node.op_type](*(values[name] for name in node.input), **attributes)
        return tuple(values[name] for name in self.outputs)


def _chained(operation: Operator) -> Operator:
    """Return an operator of any number of inputs."""
    return lambda *inputs: functools.reduce(operation, inputs)


def _reduced(operation: Operator) -> Operator:
    """Return an operator whose axes are an input or an attribute; without them it reduces the first, and only, axis."""

    def reduce(x: Tensor, axes: list[int] | None = None, keepdims: int = 1) -> Tensor:
        return operation(x, dim=tuple(axes) if axes else 0, keepdim=bool(keepdims))

    return reduce


def _gather(x: Tensor, indices: list[int], axis: int) -> Tensor:
    return torch.cat([x.narrow(axis, index, 1) for index in indices], dim=axis)


def _slice(x: Tensor, starts: list[int], ends: list[int], axes: list[int], steps: list[int] | None = None) -> Tensor:
    parts = [slice(None)] * x.dim()
    for axis, *part in zip(axes, starts, ends, steps or [1] * len(axes), strict=True):
        parts[axis] = slice(*part)
    return x[tuple(parts)]


_OPERATORS: dict[str, Operator] = {
    "Add": torch.add,
    "And": lambda x, y: x * y,
    "Cast": lambda x, to: x,
    "Ceil": torch.ceil,
    "Clip": lambda x, least, most: torch.minimum(torch.maximum(x, least), most),
    "Concat": lambda *x, axis: torch.cat(x, dim=axis),
    "Div": torch.div,
    "Floor": torch.floor,
    "Gather": _gather,
    "Greater": lambda x, y: (x > y).float(),
    "IsNaN": lambda x: (x != x).float(),
    "Less": lambda x, y: (x < y).float(),
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Max": _chained(torch.maximum),
    "Min": _chained(torch.minimum),
    "Mul": torch.mul,
    "Not": lambda x: 1 - x,
    "ReduceMax": _reduced(torch.amax),
    "ReduceMin": _reduced(torch.amin),
    "ReduceSum": _reduced(torch.sum),
    "Relu": torch.relu,
    "Reshape": lambda x, shape: x.reshape(shape),
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Transpose": lambda x, perm: x.permute(tuple(perm)),
    "Where": lambda condition, x, y: torch.where(condition > 0, x, y),
}
