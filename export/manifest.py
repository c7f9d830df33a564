"""The files of an export, and manifest.json, which describes them for other programs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import set_external_data

from mobilesam.errors import InputError, sentence
from mobilesam.files import refuse_existing, write_bytes
from mobilesam.masks import choosers
from mobilesam.onnx.metadata import PREFIX

MANIFEST = "manifest.json"
VERSION = 1

_MAX_BYTES = 2**31 - 2**20  # of a protocol buffer
_DATA = ".data"  # after the name of an ONNX file, the name of the file with its weights


def refuse_files(folder: Path, names: Iterable[str], *, force: bool) -> None:
    """Check before minutes of work that files can be written into a folder, together with a manifest.

    Raises:
        InputError: a file exists and ``force`` is false, or the folder cannot be written.
    """
    for name in (*names, MANIFEST):
        refuse_existing(folder / name, force=force)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(sentence("out", "be a folder that can be written", existing, "choose another --out"))


def serialize(model: onnx.ModelProto, name: str) -> dict[str, bytes]:
    """Return the content of the file ``name`` and, for a model that one file cannot hold, that of its weights."""
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < _MAX_BYTES:
        return {name: model.SerializeToString()}
    offset, parts = 0, []
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 1024:  # ONNX Runtime reads the small ones, such as axes, while it opens the graph
            parts.append(tensor.raw_data)
            set_external_data(tensor, name + _DATA, offset, len(tensor.raw_data))
            tensor.ClearField("raw_data")
            offset += len(parts[-1])
    return {name: model.SerializeToString(), name + _DATA: b"".join(parts)}


def write_files(folder: Path, contents: Mapping[str, bytes], *, force: bool) -> None:
    """Write ONNX files by name, and a manifest of their roles, shapes, preprocessing, sizes and digests.

    The choosers file of the model may be among them.
    """
    for name, content in contents.items():
        write_bytes(folder / name, content, force=force)
    entries = []
    for name, content in contents.items():
        if not name.endswith((_DATA, choosers.NAME)):
            data = contents.get(name + _DATA)
            entries.append(_entry(name, content) | ({"data": _digest(name + _DATA, data)} if data else {}))
    own = contents.get(choosers.NAME)
    about = {"version": VERSION, "files": entries, **({"choosers": _digest(choosers.NAME, own)} if own else {})}
    write_bytes(folder / MANIFEST, json.dumps(about, indent=2).encode() + b"\n", force=force)


def _entry(name: str, content: bytes) -> dict[str, Any]:
    model = onnx.load_from_string(content)
    initializers = {tensor.name for tensor in model.graph.initializer}
    about: dict[str, Any] = {entry.key.removeprefix(PREFIX): entry.value for entry in model.metadata_props}
    if "preprocessing" in about:
        about["preprocessing"] = json.loads(about["preprocessing"])
    return {
        **_digest(name, content),
        "opset": next(imported.version for imported in model.opset_import if not imported.domain),
        **about,
        "inputs": [_value(value) for value in model.graph.input if value.name not in initializers],
        "outputs": [_value(value) for value in model.graph.output],
    }


def _digest(name: str, content: bytes) -> dict[str, Any]:
    return {"file": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _value(value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    return {
        "name": value.name,
        "shape": [dim.dim_param or dim.dim_value for dim in tensor.shape.dim],
        "dtype": str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)),
    }
