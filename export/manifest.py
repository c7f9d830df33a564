"""manifest.json: what the ONNX files of a folder are, for programs that do not open them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx

from mobilesam.onnx.metadata import PREFIX

MANIFEST = "manifest.json"
VERSION = 1


def manifest(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return the description of the files with these names in a folder: role, shapes, preprocessing, size, digest."""
    return {"version": VERSION, "files": [_entry(folder / name) for name in names]}


def _entry(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    model = onnx.load_from_string(content)
    initializers = {tensor.name for tensor in model.graph.initializer}
    about: dict[str, Any] = {entry.key.removeprefix(PREFIX): entry.value for entry in model.metadata_props}
    if "preprocessing" in about:
        about["preprocessing"] = json.loads(about["preprocessing"])
    return {
        "file": path.name,
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
