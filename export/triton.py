"""A model repository of Triton Inference Server: a folder for each graph of a plan, with its configuration.

Triton checks a ``config.pbtxt`` against its graph when it loads the model, the sizes of outputs exactly. Its batches
are concatenated along the first dimension of all inputs and outputs, so only graphs in which all of these are one
variable dimension have batches: the encoder of normalized pixels, and the last graph of the split decoder. The other
graphs have tensors of the image beside those of the prompts.

The graphs of the split decoder are also one model, an ensemble: what they pass on, 4 MB for each prompt, stays in the
server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mobilesam.onnx import contract

MODEL_FILE = "model.onnx"  # the name that Triton's ONNX Runtime backend loads by default
_VERSION = "1"
_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8", "int64": "TYPE_INT64"}
# The largest batches by the name of the dimension: eight images, or the points that SAM decodes in one call.
_LARGEST = {"batch": 8, "prompts": 64}
# An output in the shape of the next graph's input.
_TOKENS = contract.SCORE.outputs[-1]
_TOKENS_GRID = _TOKENS._replace(shape=("prompts", contract.GRID_SIZE, contract.GRID_SIZE, _TOKENS.shape[-1]))


def model_name(prefix: str, role: str) -> str:
    """Return the name of a model; it begins with that of the network, since a server has one list of names."""
    return f"{prefix}_{role}"


def model_path(name: str, file: str = MODEL_FILE) -> str:
    """Return the path of a file of a model, in the repository."""
    return f"{name}/{_VERSION}/{file}"


def configurations(prefix: str, graphs: Iterable[contract.Graph]) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the content of each file of a repository but for the ONNX files."""
    graphs = list(graphs)
    for graph in graphs:
        name = model_name(prefix, graph.role)
        yield f"{name}/config.pbtxt", _text([f'name: "{name}"', *_graph_lines(graph)])
    if set(contract.SPLIT_DECODER) <= set(graphs):
        name = model_name(prefix, "split_decoder")
        yield f"{name}/config.pbtxt", _text([f'name: "{name}"', *_ensemble_lines(prefix)])
        yield model_path(name, ".gitkeep"), b""  # Triton requires the folder of a version


def max_batch_size(graph: contract.Graph) -> int:
    """Return the largest batch of a graph, or 0 if its first dimension is not a batch."""
    first = {value.shape[0] for value in (*graph.inputs, *graph.outputs)}
    return _LARGEST.get(str(first.pop()), 0) if len(first) == 1 else 0


def _graph_lines(graph: contract.Graph) -> list[str]:
    largest = max_batch_size(graph)
    # The learned graphs take less time on a CPU than the transfer to a GPU.
    kind = "KIND_CPU" if graph in contract.LEARNED else "KIND_AUTO"
    batching = ["# Requests that wait are computed together.", "dynamic_batching { }"] if largest else []
    return [
        'backend: "onnxruntime"',
        f"max_batch_size: {largest}",
        *batching,
        *_values("input", graph.inputs, largest > 0),
        *_values("output", graph.outputs, largest > 0),
        "# KIND_AUTO is each GPU, or the CPU if there is none.",
        f"instance_group [ {{ kind: {kind} count: 1 }} ]",
        "# Threads on a CPU; 0 is one for each core.",
        'parameters { key: "intra_op_thread_count" value { string_value: "0" } }',
    ]


def _ensemble_lines(prefix: str) -> list[str]:
    """Return the lines of the split decoder; a tensor has the name that it has in the graphs."""
    inputs = {value.name: value for graph in contract.SPLIT_DECODER for value in graph.inputs}
    outputs = {value.name: value for graph in contract.SPLIT_DECODER for value in graph.outputs}
    return [
        'platform: "ensemble"',
        "max_batch_size: 0",
        *_values("input", [value for name, value in inputs.items() if name not in outputs], False),
        *_values("output", [value for name, value in outputs.items() if name not in inputs], False),
        "ensemble_scheduling {",
        *(line for graph in contract.SPLIT_DECODER for line in _step(prefix, graph)),
        "}",
    ]


def _step(prefix: str, graph: contract.Graph) -> Iterator[str]:
    yield f'  step {{ model_name: "{model_name(prefix, graph.role)}" model_version: -1'
    for key, names in (("input_map", graph.input_names), ("output_map", graph.output_names)):
        yield from (f'    {key} {{ key: "{name}" value: "{name}" }}' for name in names)
    yield "  }"


def _values(key: str, values: Iterable[contract.Value], in_batches: bool) -> Iterator[str]:
    """Yield the lines of inputs or outputs."""
    for value in values:
        name, shape, dtype = _TOKENS_GRID if value == _TOKENS else value
        reshape = f" reshape {{ shape: {_dims(value.shape)} }}" if value == _TOKENS else ""
        dims = _dims(shape[1:] if in_batches else shape)
        yield f'{key} {{ name: "{name}" data_type: {_TYPES[dtype]} dims: {dims}{reshape} }}'


def _dims(shape: tuple[contract.Dim, ...]) -> str:
    return "[ " + ", ".join(str(dim) if isinstance(dim, int) else "-1" for dim in shape) + " ]"


def _text(lines: Iterable[str]) -> bytes:
    return "\n".join(lines).encode() + b"\n"
