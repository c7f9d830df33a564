"""The graphs that the package carries without weights, and the whole files they become with a checkpoint.

The files are kept beside the weights, named by what they were made from, and verified each time they are used: a file
that was cut short or changed is made again.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from functools import cache
from importlib.resources.abc import Traversable
from pathlib import Path

import onnx

from mobilesam import weights
from mobilesam.errors import InputError
from mobilesam.files import exists, write_bytes
from mobilesam.onnx import contract
from mobilesam.onnx.bind import fill
from mobilesam.onnx.metadata import describe
from mobilesam.weights import checkpoint

TEMPLATES = {
    contract.ENCODER: "encoder_1024.onnx",
    contract.decoder(): "decoder.onnx",
    **{graph: graph.file_name for graph in contract.STEPS},
}
_DIGESTS = "sha256.json"


def template(graph: contract.Graph) -> onnx.ModelProto:
    """Return a graph of :data:`TEMPLATES`, with its weights as inputs, at the default opset."""
    return onnx.load_from_string(_file(graph).read_bytes())


def whole_files(source: Path) -> list[Path] | list[bytes]:
    """Return the ONNX files of :data:`mobilesam.onnx.contract.STEPS`, made from a checkpoint or kept from before.

    Args:
        source: what :func:`mobilesam.weights.checkpoint.read` understands.

    Returns:
        Their paths, or their contents where nothing can be written; then they are made each time, in a second.
    """
    folder = weights.folder() / "onnx" / _key(source)
    paths = [folder / graph.file_name for graph in contract.STEPS]
    if _are_whole(paths):
        return paths
    read = checkpoint.read(source)
    contents = [
        fill(template(graph), read.state, describe(graph, read.weights_id)).SerializeToString()
        for graph in contract.STEPS
    ]
    return paths if _write(paths, contents) else contents


def _key(source: Path) -> str:
    """Return a name for what the files of a checkpoint follow from."""
    digest = hashlib.sha256(_templates_digest())
    for path in [source / name for name in checkpoint.PAIR] if exists(source) and source.is_dir() else [source]:
        if exists(path) and path.is_file():
            digest.update(_file_digest(path).encode())
    return digest.hexdigest()[:16]


def _are_whole(paths: list[Path]) -> bool:
    try:
        digests = json.loads((paths[0].parent / _DIGESTS).read_bytes())
        return bool(digests == [_file_digest(path) for path in paths])
    except (OSError, ValueError):
        return False


def _write(paths: list[Path], contents: list[bytes]) -> bool:
    from filelock import FileLock

    folder = paths[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            for path, content in zip(paths, contents, strict=True):
                write_bytes(path, content)
            write_bytes(folder / _DIGESTS, json.dumps([_file_digest(path) for path in paths]).encode())
    except (OSError, InputError):
        return False
    return True


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _templates_digest() -> bytes:
    digest = hashlib.sha256()
    for graph in contract.STEPS:
        digest.update(hashlib.sha256(_file(graph).read_bytes()).digest())
    return digest.digest()


def _file(graph: contract.Graph) -> Traversable:
    return importlib.resources.files("mobilesam.onnx").joinpath("graphs", TEMPLATES[graph])
