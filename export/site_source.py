"""The ONNX files of a model for a browser: those of an export, or files that are written for the time being."""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from mobilesam import loading
from mobilesam.config import DEFAULT
from mobilesam.errors import missing_dependency
from mobilesam.files import write_bytes
from mobilesam.masks import choosers
from mobilesam.onnx import contract
from mobilesam.onnx.bind import bind_weights
from mobilesam.onnx.metadata import describe
from mobilesam.onnx.templates import template
from mobilesam.weights import checkpoint
from mobilesam.weights.checkpoint import Checkpoint

GRAPHS = (contract.ENCODER, *contract.SPLIT_DECODER)


@contextlib.contextmanager
def source_of(model: str | None, progress: Callable[[str], object] = lambda stage: None) -> Iterator[Path]:
    """Yield a folder with the encoder and the split decoder of a model, and its choosers if it has its own.

    Args:
        model: see :func:`mobilesam.load`.
        progress: called with a description of each stage.

    Raises:
        MissingDependencyError: the network is not MobileSAM, and PyTorch is not installed.
    """
    if exported := loading.find_export(model):
        yield exported[0].parent
        return
    path = loading.find_model(model)
    network = checkpoint.read(path)
    progress(f"exporting {path.name}")
    with tempfile.TemporaryDirectory(prefix="mobilesam-") as folder:
        if network.variant == DEFAULT:
            _bind(network, Path(folder))
            own = choosers.find(path, lambda: network.weights_id)
            if content := choosers.content_of(own, network.weights_id):
                write_bytes(choosers.file_of(Path(folder)), content)
        else:
            _export(path, Path(folder))
        yield Path(folder)


def _bind(network: Checkpoint, folder: Path) -> None:
    for graph in GRAPHS:
        bound = bind_weights(template(graph), network.state, describe(graph, network.weights_id))
        (folder / graph.file_name).write_bytes(bound.SerializeToString())


def _export(path: Path, folder: Path) -> None:
    for package in ("torch", "onnxscript"):
        if not importlib.util.find_spec(package):
            raise missing_dependency(package, "export", "mobilesam site with this network")
    from mobilesam.export.exporter import export_onnx
    from mobilesam.export.plan import Plan

    sam = loading.require_torch(loading.load(path, "torch", "cpu"), "site").sam
    export_onnx(sam, folder, Plan(parts=("encoder", "split_decoder")))
