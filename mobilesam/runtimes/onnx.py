"""ONNX Runtime."""

from __future__ import annotations

from mobilesam.errors import InputError, sentence
from mobilesam.model import MaskModel
from mobilesam.onnx.sam import OnnxSam
from mobilesam.runtimes import Request


def open_model(request: Request) -> MaskModel:
    """Open an ONNX export, or a checkpoint by the graphs that the package carries."""
    provider = _provider(request.device, request.provider)
    if request.exported:
        return OnnxSam.from_files(request.exported, provider, request.threads, pin_threads=request.pin_threads)
    checkpoint = request.find_checkpoint()
    return OnnxSam.from_checkpoint(checkpoint, provider, request.threads, pin_threads=request.pin_threads)


def _provider(device: str, provider: str | None) -> str:
    """Return the name of the execution provider that device and provider ask for."""
    if provider is None:
        if device == "mps":
            remedy = "use the provider coreml, or the backend torch"
            raise InputError(sentence("device", "be cpu, cuda or auto for ONNX Runtime", "'mps'", remedy))
        name, _, index = device.partition(":")
        if index.strip("0"):
            remedy = "choose the GPU with CUDA_VISIBLE_DEVICES, or use the backend torch"
            raise InputError(sentence("device", "be cpu, cuda or auto for ONNX Runtime", repr(device), remedy))
        return name
    if device not in ("auto", provider):
        actual = f"{device!r} beside provider {provider!r}"
        raise InputError(sentence("device", "be left out beside provider", actual, "give one of them"))
    return provider
