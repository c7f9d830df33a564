"""Convert an ONNX pair (image encoder, single-mask decoder) to the official state dict, exactly, without torch.

The exporter kept the names of biases, norms and prompt embeddings, and lost those of everything it rearranged. The
position of a node in the graph gives its name back: nodes have the order of the network, as the official keys have.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mobilesam import file_kind
from mobilesam.arrays import Array
from mobilesam.config import VARIANTS
from mobilesam.errors import CheckpointError, sentence
from mobilesam.files import open_file
from mobilesam.weights import recognition, state_dict
from mobilesam.weights.state_dict import StateDict

if TYPE_CHECKING:
    import onnx

Value = TypeVar("Value")


def pair_to_state(encoder: Path, decoder: Path) -> StateDict:
    """Return the state dict of an ONNX pair, in either order: float32 and int64 arrays under the official keys.

    The pair does not contain the unused classifier. Batch norms become identities with the bias that was folded into
    their convolution.

    Raises:
        CheckpointError: a file is not ONNX, or its graph is not this network's.
    """
    both = f"{encoder} and {decoder}"
    try:
        graphs = sorted([_Graph(encoder), _Graph(decoder)], key=lambda graph: "point_coords" in graph.inputs)
        state = _encoder_state(graphs[0]) | _decoder_state(graphs[1])
    except (ValueError, TypeError, LookupError) as error:  # the graph is not valid
        raise CheckpointError(
            sentence(both, "be MobileSAM's ONNX pair", f"a damaged graph ({error})", _REMEDY)
        ) from error
    if wrong := recognition.difference(state_dict.used_shapes(), {key: value.shape for key, value in state.items()}):
        raise CheckpointError(sentence(both, "be MobileSAM's ONNX pair", wrong, _REMEDY))
    return {key: state[key] for key in state_dict.used_shapes()}


class _Graph:
    """The nodes of an ONNX file, with its constants (initializers and Constant nodes) as arrays."""

    def __init__(self, path: Path) -> None:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        try:
            with open_file(path) as file:
                graph = onnx.load(file, load_external_data=False).graph
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from error
        except DecodeError as error:
            with path.open("rb") as file:
                looks = file_kind.describe(file.read(512))
            actual = f"{looks} that is not a whole ONNX file"
            raise CheckpointError(sentence(str(path), "be an ONNX file", actual, _REMEDY)) from error
        self.path = path
        self.inputs = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]
        self.nodes = list(graph.node)
        self.named = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if not tensor.external_data
        }
        self.constants: dict[str, Array] = dict(self.named)
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].HasField("t"):
                self.constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)

    def feeding(self, node: onnx.NodeProto) -> list[Array]:
        """Return the constants that are inputs of ``node``."""
        return [self.constants[name] for name in node.input if name in self.constants]

    def linear_weights(self) -> StateDict:
        """Return the weight of every linear layer: a MatMul's constant, transposed, named by the bias added next."""
        bias_of = {
            name: bias
            for node in self.nodes
            if node.op_type == "Add"
            for bias in node.input
            if bias in self.named and bias.endswith(".bias")
            for name in node.input
        }
        weights: StateDict = {}
        for node in self.nodes:
            bias = bias_of.get(node.output[0]) if node.op_type == "MatMul" else None
            for weight in self.feeding(node) if bias else ():
                weights[f"{bias}".removesuffix("bias") + "weight"] = np.ascontiguousarray(weight.T)
        return weights

    def channel_norms(self) -> list[Array]:
        """Return weight and bias, alternating, of every LayerNorm2d: the (C, 1, 1) constants of a Mul and an Add."""
        return [
            value.reshape(-1)
            for node in self.nodes
            if node.op_type in ("Mul", "Add")
            for value in self.feeding(node)
            if value.ndim == 3 and value.shape[1:] == (1, 1)
        ]


def _encoder_state(graph: _Graph) -> StateDict:
    state = {name: value for name, value in graph.named.items() if not name.startswith("onnx::")}
    state |= graph.linear_weights()
    state = {f"image_encoder.{name}": value for name, value in state.items()}

    folded = [pair for node in graph.nodes if node.op_type == "Conv" and len(pair := graph.feeding(node)) == 2]
    names = _keys(lambda key: key.endswith(".c.weight"))
    for name, (weight, bias) in _matched("folded convolutions", graph, names, folded):
        state |= _unfolded(name.removesuffix(".c.weight"), weight, bias)

    added = {node.output[0]: value for node in graph.nodes if node.op_type == "Add" for value in graph.feeding(node)}
    tables = [added[node.input[0]] for node in graph.nodes if node.op_type == "Softmax" and node.input[0] in added]
    names = _keys(lambda key: key.endswith(".attention_biases"))
    for name, table in _matched("attention bias tables", graph, names, tables):
        state[name] = _bias_by_offset(graph, table)

    names = _keys(lambda key: key.startswith(("image_encoder.neck.1.", "image_encoder.neck.3.")))
    state |= _matched("neck norms", graph, names, graph.channel_norms())
    return state


def _decoder_state(graph: _Graph) -> StateDict:
    state = {name.removeprefix("model."): value for name, value in graph.named.items() if not name.startswith("onnx::")}
    state |= graph.linear_weights()

    norms = ("prompt_encoder.mask_downscaling.1.", "prompt_encoder.mask_downscaling.4.")
    names = _keys(lambda key: key.startswith((*norms, "mask_decoder.output_upscaling.1.")))
    state |= _matched("mask norms", graph, names, graph.channel_norms())

    tokens = [value for value in graph.named.values() if value.shape == (1, 5, _DIM)]
    for _, value in _matched("token tables", graph, ["tokens"], tokens):
        state["mask_decoder.iou_token.weight"] = value[0, :1]
        state["mask_decoder.mask_tokens.weight"] = value[0, 1:]
    no_mask = [value for value in graph.named.values() if value.shape == (1, _DIM, 1, 1)]
    for name, value in _matched("no-mask embeddings", graph, ["prompt_encoder.no_mask_embed.weight"], no_mask):
        state[name] = value.reshape(1, -1)
    return state


def _unfolded(name: str, weight: Array, bias: Array) -> StateDict:
    """Return a convolution and an identity batch norm that adds ``bias``; in float32, (1 - eps) + eps is exactly 1."""
    ones = np.ones(len(bias), dtype=np.float32)
    return {
        f"{name}.c.weight": weight,
        f"{name}.bn.weight": ones,
        f"{name}.bn.bias": bias,
        f"{name}.bn.running_mean": np.zeros_like(ones),
        f"{name}.bn.running_var": ones - np.float32(state_dict.BATCH_NORM_EPS),
        f"{name}.bn.num_batches_tracked": np.array(0, dtype=np.int64),
    }


def _bias_by_offset(graph: _Graph, table: Array) -> Array:
    """Return biases, (heads, side²), by the offset between two tokens of a window, from a (heads, N, N) table.

    The first token of a window is its corner, so its row lists all offsets in the official order. The other rows must
    repeat these values.
    """
    side = round(table.shape[-1] ** 0.5)
    row, column = np.divmod(np.arange(side * side), side)
    offset = abs(row[:, None] - row) * side + abs(column[:, None] - column)
    biases = table[:, 0]
    if table.shape[1:] != offset.shape or not np.array_equal(biases[:, offset], table):
        raise CheckpointError(
            sentence(str(graph.path), "add one bias for each window offset before a softmax", "another table", _REMEDY)
        )
    return np.ascontiguousarray(biases)


def _keys(wanted: Callable[[str], bool]) -> list[str]:
    return [key for key in state_dict.used_shapes() if wanted(key)]


def _matched(what: str, graph: _Graph, names: list[str], values: list[Value]) -> list[tuple[str, Value]]:
    if len(names) != len(values):
        actual = f"{len(values)} in a graph from {', '.join(graph.inputs)} to {', '.join(graph.outputs)}"
        raise CheckpointError(sentence(str(graph.path), f"have {len(names)} {what}", actual, _REMEDY))
    return list(zip(names, values, strict=True))


_DIM = VARIANTS["vit_t"].embed_dim
_REMEDY = "give the encoder and the decoder that were exported from a MobileSAM checkpoint"
