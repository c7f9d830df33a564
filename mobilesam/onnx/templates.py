"""The graph templates of the package, and the ONNX files that result from binding a checkpoint to them.

The files are saved in the weights folder, under a digest of the checkpoint and the templates. They are verified at each
use, and a damaged or changed file is written again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import json
from importlib.resources.abc import Traversable
from pathlib import Path

import onnx

from mobilesam import weights
from mobilesam.config import DEFAULT
from mobilesam.errors import InputError, sentence
from mobilesam.files import exists, write_bytes
from mobilesam.onnx import contract
from mobilesam.onnx.bind import bind_weights
from mobilesam.onnx.metadata import describe
from mobilesam.weights import cache, checkpoint

TEMPLATES = {
    contract.ENCODER: "encoder_1024.onnx",
    contract.decoder(): "decoder.onnx",
    **{graph: graph.file_name for graph in contract.GRAPHS},
}
_DIGESTS = "sha256.json"
_KEY_LENGTH = 16


def template(graph: contract.Graph) -> onnx.ModelProto:
    """Return a graph template, with its weights as inputs, at the default opset."""
    return onnx.load_from_string(_file(graph).read_bytes())


def bound_files(source: Path) -> list[Path] | list[bytes]:
    """Return the ONNX files of :data:`mobilesam.onnx.contract.GRAPHS` with the weights of a checkpoint.

    Args:
        source: a checkpoint for :func:`mobilesam.weights.checkpoint.read`.

    Returns:
        The paths of saved files, or their contents if they cannot be saved; binding takes a second each time.
    """
    folder = _saved() / _key(source)
    paths = [folder / graph.file_name for graph in contract.GRAPHS]
    if _are_whole(paths):
        return paths
    read = checkpoint.read(source)
    if read.variant != DEFAULT:
        remedy = "use the backend torch, or write ONNX files with mobilesam export"
        raise InputError(sentence("checkpoint", f"be one of {DEFAULT} for the backend onnx", read.description, remedy))
    contents = [
        bind_weights(template(graph), read.state, describe(graph, read.weights_id)).SerializeToString()
        for graph in contract.GRAPHS
    ]
    return paths if _save(paths, contents) else contents


def saved_files() -> list[Path]:
    """Return the files that :func:`bound_files` has saved for any checkpoint, and unfinished ones."""
    names = [*(graph.file_name for graph in contract.GRAPHS), _DIGESTS]
    targets = [folder / name for folder in sorted(_saved().glob("[0-9a-f]" * _KEY_LENGTH)) for name in names]
    paths = [path for target in targets for path in (target, *cache.temporaries(target))]
    return [path for path in paths if cache.is_inside(path, weights.folder())]


def _saved() -> Path:
    return weights.folder() / "onnx"


def _key(source: Path) -> str:
    """Return a digest of the templates and the files of a checkpoint."""
    digest = hashlib.sha256(_templates_digest())
    for path in [source / name for name in checkpoint.PAIR] if exists(source) and source.is_dir() else [source]:
        if exists(path) and path.is_file():
            digest.update(_file_digest(path).encode())
    return digest.hexdigest()[:_KEY_LENGTH]


def _are_whole(paths: list[Path]) -> bool:
    try:
        digests = json.loads((paths[0].parent / _DIGESTS).read_bytes())
        return bool(digests == [_file_digest(path) for path in paths])
    except (OSError, ValueError):
        return False


def _save(paths: list[Path], contents: list[bytes]) -> bool:
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


@functools.cache
def _templates_digest() -> bytes:
    digests = (hashlib.sha256(_file(graph).read_bytes()).digest() for graph in contract.GRAPHS)
    return hashlib.sha256(b"".join(digests)).digest()


def _file(graph: contract.Graph) -> Traversable:
    return importlib.resources.files("mobilesam.onnx").joinpath("graphs", TEMPLATES[graph])
