"""OpenVINO, on the CPU."""

from __future__ import annotations

from pathlib import Path

from mobilesam.errors import InputError, sentence
from mobilesam.model import MaskModel
from mobilesam.onnx.openvino import OpenVinoSession
from mobilesam.onnx.sam import OnnxSam
from mobilesam.runtimes import Request


def open_model(request: Request) -> MaskModel:
    """Open an ONNX export, or bind a checkpoint to the graph templates of the package."""
    request.require_no_provider("openvino")
    if request.device not in ("auto", "cpu"):
        remedy = "use the backend torch or onnx for another device"
        raise InputError(sentence("device", "be cpu or auto for the backend openvino", repr(request.device), remedy))

    def open_file(model: Path | bytes, threads: int | None) -> OpenVinoSession:
        return OpenVinoSession(model, threads, request.precision)

    if request.exported:
        return OnnxSam.from_files(request.exported, threads=request.threads, open_file=open_file)
    return OnnxSam.from_checkpoint(
        request.find_checkpoint(),
        threads=request.threads,
        open_file=open_file,
        read=lambda _: request.read_checkpoint(),
    )
