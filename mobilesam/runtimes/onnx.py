"""ONNX Runtime."""

from __future__ import annotations

from mobilesam.errors import InputError, sentence
from mobilesam.model import MaskModel
from mobilesam.onnx.sam import OnnxSam
from mobilesam.runtimes import Request


def open_model(request: Request) -> MaskModel:
    """Open an ONNX export, or bind a checkpoint to the graph templates of the package."""
    request.require_float32("onnx")
    provider = _provider(request.device, request.provider)
    if request.exported:
        return OnnxSam.from_files(request.exported, provider, request.threads, pin_threads=request.pin_threads)
    return OnnxSam.from_checkpoint(
        request.find_checkpoint(),
        provider,
        request.threads,
        pin_threads=request.pin_threads,
        read=lambda _: request.read_checkpoint(),
    )


def _provider(device: str, provider: str | None) -> str:
    if provider is not None:
        if device not in ("auto", provider):
            actual = f"device {device!r} and provider {provider!r}"
            raise InputError(sentence("device", "be left out if provider is given", actual, "give one of them"))
        return provider
    name, _, index = device.partition(":")
    if name == "mps" or index.strip("0"):
        gpu = "choose the GPU with CUDA_VISIBLE_DEVICES, or use the backend torch"
        remedy = "use the provider coreml, or the backend torch" if name == "mps" else gpu
        raise InputError(sentence("device", "be cpu, cuda or auto for ONNX Runtime", repr(device), remedy))
    return name
