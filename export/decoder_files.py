"""The files with which a browser tab decodes the embeddings of a server: the split decoder, and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mobilesam.export import site_model
from mobilesam.export.site import MANIFEST
from mobilesam.export.site_source import source_of
from mobilesam.onnx import contract


def decoder_files(model: str | None, runtime: Sequence[Path]) -> dict[str, bytes]:
    """Return the files by name. The decoder is in the precision of the model.

    Args:
        model: see :func:`mobilesam.load`.
        runtime: the files of :func:`mobilesam.export.site_runtime.find`.

    Raises:
        InputError: the model has no split decoder.
        MissingDependencyError: the network is not MobileSAM, and PyTorch is not installed.
    """
    with source_of(model) as source:
        contents = site_model.model_files(source, contract.SPLIT_DECODER)
    contents |= site_model.runtime_files(runtime)
    return contents | {MANIFEST: site_model.manifest(contents)}
