"""Which part of a model an ONNX file is, by its inputs and outputs; names of files do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilesam import file_kind
from mobilesam.errors import InputError, sentence
from mobilesam.files import check_regular
from mobilesam.onnx import contract

if TYPE_CHECKING:
    import onnx

_STEPS = {graph.role: graph for graph in (contract.IMAGE, contract.SCORE, contract.UPSCALE)}
_DECODER_INPUTS = {"image_embeddings", "point_coords", "point_labels"}
_DECODER_INPUTS_KNOWN = set(contract.decoder().input_names)
_REMEDY = "give the encoder and the decoder that mobilesam export, samexporter or SAM's own script writes"


Found = dict[str, tuple[Path, "onnx.ModelProto"]]


def whole_model(files: Sequence[Path]) -> Found:
    """Return the files of one model by role: encoder, and image, score and upscale, or decoder.

    Raises:
        InputError: a file is no part of such a model, one is there twice, or a part is missing.
    """
    found = by_role(files)
    if contract.ENCODER.role not in found or not ("decoder" in found or found.keys() >= _STEPS.keys()):
        actual = ", ".join(f"{role} ({path})" for role, (path, _) in found.items()) or "no ONNX file"
        raise InputError(sentence("ONNX model", "have an encoder and a decoder", actual, _REMEDY))
    return found


def by_role(files: Sequence[Path]) -> Found:
    """Return files by the part of a model that they are.

    Raises:
        InputError: a file is no part of a model, or one is there twice.
    """
    found: Found = {}
    for path in files:
        model = read(path)
        role = role_of(model)
        if role is None:
            actual = f"{path}, {_signature(model)}"
            raise InputError(sentence("ONNX model", "be a part of a SAM model", actual, _REMEDY))
        if role in found:
            both = f"{found[role][0]} and {path}"
            raise InputError(sentence("ONNX model", f"have one {role}", both, "name the files of one model"))
        found[role] = path, model
    return found


def files_of(folder: Path) -> list[Path]:
    """Return the ONNX files of a folder."""
    return sorted(folder.glob("*.onnx"))


def role_of(model: onnx.ModelProto) -> str | None:
    """Return the role of a graph, or None if it is no part of a SAM model."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    names, outputs = {value.name for value in inputs}, {value.name for value in model.graph.output}
    for role, graph in _STEPS.items():
        if names == set(graph.input_names) and outputs == set(graph.output_names):
            return role
    is_decoder = _DECODER_INPUTS <= names <= _DECODER_INPUTS_KNOWN  # one that needs more is of another kind of SAM
    if is_decoder and outputs >= set(contract.decoder(low_res_only=True).output_names):
        return "decoder"
    ranks = [len(value.type.tensor_type.shape.dim) for value in (*inputs, *model.graph.output)]
    return contract.ENCODER.role if ranks in ([4, 4], [3, 4]) else None


def read(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        InputError: it is none, or cannot be read.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        check_regular(path)
        model = onnx.load(path)
    except OSError as error:
        raise InputError(sentence("ONNX model", "be a readable file", f"{path} ({error.strerror})", _REMEDY)) from error
    except onnx.checker.ValidationError as error:
        requirement = "have the file with its weights beside it"
        raise InputError(sentence("ONNX model", requirement, f"{path}: {error}", "get both files again")) from error
    except DecodeError as error:
        raise InputError(_no_graph(path)) from error
    if not model.graph.node:
        raise InputError(_no_graph(path))
    return model


def _no_graph(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    looks = f"looks like {file_kind.describe(head)}" if head else "is empty"
    return sentence("ONNX model", "be a whole ONNX file", f"{path}, which {looks}", _REMEDY)


def _signature(model: onnx.ModelProto) -> str:
    inputs = ", ".join(value.name for value in model.graph.input)
    return f"a graph from {inputs} to {', '.join(value.name for value in model.graph.output)}"
