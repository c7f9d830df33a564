"""The graph templates of the package, and the ONNX files that result from binding a checkpoint to them.

The files are saved in the weights folder, under a digest of the checkpoint and the templates, and beside them as ONNX
Runtime has optimized them. They are verified at each use, and a damaged or changed file is written again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.resources
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mobilesam import weights
from mobilesam.config import DEFAULT
from mobilesam.errors import InputError, sentence
from mobilesam.files import exists
from mobilesam.onnx import contract, optimized, saved
from mobilesam.onnx.metadata import describe
from mobilesam.weights import cache, checkpoint

if TYPE_CHECKING:
    import onnx

TEMPLATES = {
    contract.ENCODER: "encoder_1024.onnx",
    contract.decoder(): "decoder.onnx",
    **{graph: graph.file_name for graph in contract.GRAPHS},
}
_KEY_LENGTH = 16
_NAMES = [graph.file_name for graph in contract.GRAPHS]
_MOST_BYTES = 2**28  # of a file whose digest is computed only to look for saved files: vit_t has 40 MB, vit_b 375 MB


class CpuFiles(NamedTuple):
    """Paths or contents in the order of the contract; the graphs are not optimized where nothing can be saved."""

    files: Sequence[Path | bytes]
    are_optimized: bool


def template(graph: contract.Graph) -> onnx.ModelProto:
    """Return a graph template, with its weights as inputs, at the default opset."""
    import onnx

    return onnx.load_from_string(_file(graph).read_bytes())


def bound_files(
    source: Path, read: Callable[[Path], checkpoint.Checkpoint] = checkpoint.read
) -> list[Path] | list[bytes]:
    """Return the ONNX files of :data:`mobilesam.onnx.contract.GRAPHS` with the weights of a checkpoint.

    Args:
        source: a checkpoint for :func:`mobilesam.weights.checkpoint.read`.
        read: returns its content; called if the files have not been saved before.

    Returns:
        The paths of saved files, or their contents if they cannot be saved; binding takes a second each time.
    """
    return _bound(folder_of(source), source, read)


def cpu_files(source: Path, read: Callable[[Path], checkpoint.Checkpoint] = checkpoint.read) -> CpuFiles:
    """Return the files of :func:`bound_files` as ONNX Runtime optimizes them for this CPU."""
    with ThreadPoolExecutor(1) as thread:
        digested = thread.submit(folder_of, source)
        importlib.import_module("onnxruntime")  # at the same time, since each takes 20 ms
        folder = digested.result()
    if paths := optimized.find(folder):
        return CpuFiles(paths, are_optimized=True)
    bound = _bound(folder, source, read)
    made = optimized.make(folder, bound)
    return CpuFiles(made or bound, are_optimized=bool(made))


def are_saved(source: Path) -> bool:
    """Return whether :func:`bound_files` has saved the files of a checkpoint."""
    try:
        return source.stat().st_size <= _MOST_BYTES and folder_of(source).is_dir()
    except OSError:  # reading the checkpoint reports it
        return False


def saved_files() -> list[Path]:
    """Return the files that have been saved for any checkpoint, and unfinished ones."""
    folders = sorted(_saved().glob("[0-9a-f]" * _KEY_LENGTH))
    paths = [path for each in folders for path in (*saved.files(each, _NAMES), *optimized.saved_files(each))]
    return [path for path in paths if cache.is_inside(path, weights.folder())]


def folder_of(source: Path) -> Path:
    """Return the folder for the files of a checkpoint, by a digest of its files and the templates."""
    digest = hashlib.sha256(_templates_digest())
    for path in [source / name for name in checkpoint.PAIR] if exists(source) and source.is_dir() else [source]:
        if exists(path) and path.is_file():
            digest.update(saved.file_digest(path).encode())
    return _saved() / digest.hexdigest()[:_KEY_LENGTH]


def _bound(folder: Path, source: Path, read: Callable[[Path], checkpoint.Checkpoint]) -> list[Path] | list[bytes]:
    paths = [folder / name for name in _NAMES]
    if saved.are_whole(folder, _NAMES):
        return paths
    from mobilesam.onnx.bind import bind_weights

    network = read(source)
    if network.variant != DEFAULT:
        remedy = "use the backend torch, or write ONNX files with mobilesam export"
        actual = network.description
        raise InputError(sentence("checkpoint", f"be one of {DEFAULT} for the backend onnx", actual, remedy))
    contents = [
        bind_weights(template(graph), network.state, describe(graph, network.weights_id)).SerializeToString()
        for graph in contract.GRAPHS
    ]

    def write(made: Path) -> None:
        for name, content in zip(_NAMES, contents, strict=True):
            (made / name).write_bytes(content)

    return paths if saved.save(folder, _NAMES, write) else contents


def _saved() -> Path:
    return weights.folder() / "onnx"


@functools.cache
def _templates_digest() -> bytes:
    digests = (hashlib.sha256(_file(graph).read_bytes()).digest() for graph in contract.GRAPHS)
    return hashlib.sha256(b"".join(digests)).digest()


def _file(graph: contract.Graph) -> Traversable:
    return importlib.resources.files("mobilesam.onnx").joinpath("graphs", TEMPLATES[graph])
