"""The files of an export, and manifest.json, which describes them for other programs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx

from mobilesam.files import refuse_existing, write_bytes
from mobilesam.onnx.metadata import PREFIX

MANIFEST = "manifest.json"
VERSION = 1


def refuse_files(folder: Path, names: Iterable[str], *, force: bool) -> None:
    """Raise InputError if a file that :func:`write_files` writes exists and ``force`` is false."""
    for name in (*names, MANIFEST):
        refuse_existing(folder / name, force=force)


def write_files(folder: Path, contents: Mapping[str, bytes], *, force: bool) -> None:
    """Write ONNX files by name, and a manifest of their roles, shapes, preprocessing, sizes and digests."""
    for name, content in contents.items():
        write_bytes(folder / name, content, force=force)
    about = {"version": VERSION, "files": [_entry(name, content) for name, content in contents.items()]}
    write_bytes(folder / MANIFEST, json.dumps(about, indent=2).encode() + b"\n", force=force)


def _entry(name: str, content: bytes) -> dict[str, Any]:
    model = onnx.load_from_string(content)
    initializers = {tensor.name for tensor in model.graph.initializer}
    about: dict[str, Any] = {entry.key.removeprefix(PREFIX): entry.value for entry in model.metadata_props}
    if "preprocessing" in about:
        about["preprocessing"] = json.loads(about["preprocessing"])
    return {
        "file": name,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "opset": next(imported.version for imported in model.opset_import if not imported.domain),
        **about,
        "inputs": [_value(value) for value in model.graph.input if value.name not in initializers],
        "outputs": [_value(value) for value in model.graph.output],
    }


def _value(value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    return {
        "name": value.name,
        "shape": [dim.dim_param or dim.dim_value for dim in tensor.shape.dim],
        "dtype": str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)),
    }
