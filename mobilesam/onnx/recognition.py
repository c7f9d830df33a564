"""Recognize the parts of a model by the inputs and outputs of ONNX files, whatever their names are."""

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

_SPLIT_ROLES = {graph.role for graph in contract.SPLIT_DECODER}
_DECODER_INPUTS = {"image_embeddings", "point_coords", "point_labels"}
_DECODER_INPUTS_KNOWN = set(contract.decoder().input_names)
_REMEDY = "give the encoder and the decoder that mobilesam export, samexporter or SAM's own script writes"

Parts = dict[str, tuple[Path, "onnx.ModelProto"]]


def whole_model(files: Sequence[Path]) -> Parts:
    """Return the files of one model by role: encoder, and image, score and upscale, or decoder.

    Raises:
        InputError: a file is not a part of such a model, or a part is missing or given twice.
    """
    parts = by_role(files)
    if contract.ENCODER.role not in parts or not ("decoder" in parts or parts.keys() >= _SPLIT_ROLES):
        actual = ", ".join(f"{role} ({path})" for role, (path, _) in parts.items()) or "no ONNX file"
        raise InputError(sentence("ONNX model", "have an encoder and a decoder", actual, _REMEDY))
    return parts


def by_role(files: Sequence[Path]) -> Parts:
    """Return files by role.

    Raises:
        InputError: a file is not a part of a model, or a part is given twice.
    """
    parts: Parts = {}
    for path in files:
        model = read(path)
        role = role_of(model)
        if role is None:
            inputs, outputs = (", ".join(v.name for v in values) for values in (model.graph.input, model.graph.output))
            actual = f"{path}, a graph from {inputs} to {outputs}"
            raise InputError(sentence("ONNX file", "be a part of a SAM model", actual, _REMEDY))
        if role in parts:
            both = f"{parts[role][0]} and {path}"
            raise InputError(sentence("ONNX model", f"have one {role}", both, "give the files of one model"))
        parts[role] = path, model
    return parts


def files_of(folder: Path) -> list[Path]:
    """Return the ONNX files of a folder."""
    return sorted(folder.glob("*.onnx"))


def role_of(model: onnx.ModelProto) -> str | None:
    """Return the role of a graph, or None if it is not a part of a SAM model."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    names, outputs = {value.name for value in inputs}, {value.name for value in model.graph.output}
    for graph in (*contract.SPLIT_DECODER, *contract.LEARNED):
        if names == set(graph.input_names) and outputs == set(graph.output_names):
            return graph.role
    is_decoder = _DECODER_INPUTS <= names <= _DECODER_INPUTS_KNOWN  # other variants of SAM have more inputs
    if is_decoder and outputs >= set(contract.decoder(low_res_only=True).output_names):
        return "decoder"
    ranks = [len(value.type.tensor_type.shape.dim) for value in (*inputs, *model.graph.output)]
    return contract.ENCODER.role if ranks in ([4, 4], [3, 4]) else None


def read(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        InputError: it cannot be read, or is not an ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        check_regular(path)
        model = onnx.load(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Check the path.") from error
    except onnx.checker.ValidationError as error:
        raise InputError(
            f"The weights of {path} are in another file that cannot be read ({error}). Place both files in one folder."
        ) from error
    except DecodeError:
        model = onnx.ModelProto()
    if not model.graph.node:
        with path.open("rb") as file:
            head = file.read(512)
        looks = f"looks like {file_kind.describe(head)}" if head else "is empty"
        raise InputError(sentence("ONNX file", "be complete", f"{path}, which {looks}", _REMEDY))
    return model
