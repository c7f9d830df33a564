"""PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mobilesam.errors import InputError, sentence
from mobilesam.model import MaskModel
from mobilesam.optional import import_torch
from mobilesam.runtimes import Request

if TYPE_CHECKING:
    import torch


def open_model(request: Request) -> MaskModel:
    """Open a checkpoint."""
    request.require_no_provider("torch")
    request.require_float32("torch")
    if request.exported:
        raise InputError(
            sentence("model", "be a checkpoint for backend 'torch'", "an ONNX export", "use the backend onnx")
        )
    torch = import_torch("the torch backend")

    from mobilesam.modeling.build import from_checkpoint
    from mobilesam.modeling.torch_sam import TorchSam

    target = resolve_device(request.device)
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    return TorchSam(from_checkpoint(request.read_checkpoint()).to(target))


def resolve_device(device: str) -> torch.device:
    """Return the torch device of a name.

    Raises:
        InputError: it is not available.
    """
    import torch

    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    if device == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    choices = ["cpu", *cuda, *mps]
    if device not in choices and not (device == "cuda" and cuda):
        requirement = f"be available here ({', '.join(choices)})"
        raise InputError(sentence("device", requirement, repr(device), "use device='auto'"))
    return torch.device(device)
