"""OpenVINO, on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from mobilesam.arrays import Array
from mobilesam.config import FLOAT32
from mobilesam.errors import InputError, sentence
from mobilesam.model import MaskModel
from mobilesam.onnx import contract, fixed, fixed_folder
from mobilesam.onnx.openvino import OpenVinoSession
from mobilesam.onnx.sam import OnnxSam
from mobilesam.runtimes import EXPORTED, Request


def open_model(request: Request) -> MaskModel:
    """Open an export to OpenVINO or ONNX, or bind a checkpoint to the graph templates of the package."""
    request.require_no_provider("openvino")
    if request.device not in ("auto", "cpu"):
        remedy = "use the backend torch or onnx for another device"
        raise InputError(sentence("device", "be cpu or auto for the backend openvino", repr(request.device), remedy))

    def open_file(model: Path | bytes, threads: int | None) -> OpenVinoSession:
        return OpenVinoSession(model, threads, request.precision)

    if request.exported and request.exported[0].suffix == EXPORTED["openvino"]:
        folder = fixed_folder.read(request.exported[0].parent, "openvino")
        if request.precision != FLOAT32:
            precision = f"{folder.metadata['precision']} {request.precision}"
            folder = folder._replace(metadata=folder.metadata | {"precision": precision})
        open_precise = functools.partial(open_run, precision=request.precision)
        return OnnxSam.from_roles(folder.opener(open_precise), request.threads, roles=folder.files)
    if request.exported:
        return OnnxSam.from_files(request.exported, threads=request.threads, open_file=open_file)
    return OnnxSam.from_checkpoint(
        request.find_checkpoint(),
        threads=request.threads,
        open_file=open_file,
        read=lambda _: request.read_checkpoint(),
    )


def open_run(
    path: Path, graph: contract.Graph, threads: int | None, precision: str = FLOAT32
) -> Callable[[], fixed.Run]:
    """Return what opens a file of an export to OpenVINO for one thread; threads share a network.

    Raises:
        InputError: OpenVINO cannot open the file.
        MissingDependencyError: OpenVINO is not installed.
    """
    session = OpenVinoSession(path, threads, precision)

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return dict(zip(graph.output_names, session.run(graph.output_names, inputs), strict=True))

    return lambda: run
