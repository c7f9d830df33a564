"""The files with which a browser tab decodes the embeddings of a server: the split decoder, and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mobilesam import loading
from mobilesam.config import DEFAULT
from mobilesam.errors import InputError, sentence
from mobilesam.export import site_model
from mobilesam.export.site import MANIFEST
from mobilesam.export.site_source import source_of
from mobilesam.onnx import contract
from mobilesam.weights import checkpoint


def decoder_files(model: str | None, runtime: Sequence[Path]) -> dict[str, bytes]:
    """Return the files by name. The decoder is in the precision of the model.

    Args:
        model: see :func:`mobilesam.load`.
        runtime: the files of :func:`mobilesam.export.site_runtime.find`.

    Raises:
        InputError: the model has no split decoder, or is a checkpoint of another network than MobileSAM.
    """
    name = DEFAULT if model is None else Path(model.partition(",")[0]).name
    if not loading.find_export(model) and checkpoint.read(loading.find_model(model)).variant != DEFAULT:
        remedy = "export it with --parts encoder,split_decoder, and serve that folder"
        raise InputError(sentence("a decoder for browser tabs", "be MobileSAM's or exported", name, remedy))
    with source_of(model) as source:
        contents = site_model.model_files(source, contract.SPLIT_DECODER)
    contents |= site_model.runtime_files(runtime)
    return contents | {MANIFEST: site_model.manifest(contents, name=name)}
