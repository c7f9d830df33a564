"""PyTorch."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from mobilesam.errors import InputError, missing_dependency, sentence
from mobilesam.model import MaskModel
from mobilesam.runtimes import Request

if TYPE_CHECKING:
    import torch


def open_model(request: Request) -> MaskModel:
    """Open a checkpoint."""
    if request.provider is not None:
        raise InputError(sentence("provider", "go with the onnx backend", "backend 'torch'", "leave one of them out"))
    if request.exported:
        raise InputError(sentence("model", "be a checkpoint for torch", "an ONNX export", "use the backend onnx"))
    if not importlib.util.find_spec("torch"):
        raise missing_dependency("torch", "torch", "the torch backend")
    import torch

    from mobilesam.modeling.build import build_sam_vit_t
    from mobilesam.modeling.torch_sam import TorchSam

    target = resolve_device(request.device)
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    return TorchSam(build_sam_vit_t(request.find_checkpoint()).to(target))


def resolve_device(device: str) -> torch.device:
    """Return the torch device of a name.

    Raises:
        InputError: it is not there.
    """
    import torch

    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    if device == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    if device not in ("cpu", *cuda, *mps) and not (device == "cuda" and cuda):
        there = ", ".join(("cpu", *cuda, *mps))
        raise InputError(sentence("device", f"be available here ({there})", repr(device), "use device='auto'"))
    return torch.device(device)
