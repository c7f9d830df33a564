"""The one way to get a model: for Python code, commands, the page, evaluation and batches alike."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam import weights
from mobilesam.config import VARIANTS
from mobilesam.errors import InputError, MissingDependencyError, missing_dependency, sentence, unknown_name
from mobilesam.model import MaskModel

if TYPE_CHECKING:
    import torch

    from mobilesam.torch_sam import TorchSam

BACKENDS = ("auto", "torch", "onnx")
DEVICES = ("auto", "cpu", "cuda", "mps")


def load(
    model: str | os.PathLike[str] | None = None,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> MaskModel:
    """Load a model that SamPredictor and everything else here runs on.

    Args:
        model: a name that ``mobilesam weights list`` shows, or a checkpoint; by default the published weights, fetched
            on first use.
        backend: "torch", "onnx", or "auto" for whichever is installed and fits the model.
        device: "cpu", "cuda" (also "cuda:1"), "mps", or "auto" for the fastest that is there.
        threads: how many threads a computation on the CPU uses; by default the framework's own choice.

    Raises:
        InputError: an argument is not one of the above, or the device is not there.
        WeightsError: the weights cannot be fetched.
        CheckpointError: the file is not a MobileSAM checkpoint.
        MissingDependencyError: the backend is not installed.
    """
    if backend not in BACKENDS:
        raise InputError(unknown_name("backend", backend, BACKENDS))
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise InputError(
            sentence("threads", "be a positive whole number", repr(threads), "leave it out for the default")
        )
    _need_torch("the torch backend")
    import torch

    from mobilesam.build import build_sam_vit_t
    from mobilesam.torch_sam import TorchSam

    target = resolve_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    return TorchSam(build_sam_vit_t(find_model(model)).to(target))


def find_model(model: str | os.PathLike[str] | None) -> Path:
    """Return the file or folder that ``model`` names, fetching published weights if they are absent."""
    if model is None or model in VARIANTS:
        return weights.ensure()
    if isinstance(model, str) and model in weights.names():
        return weights.ensure(model)
    path = Path(model)
    if not path.exists():
        looks_like_path = path.suffix or len(path.parts) > 1
        if looks_like_path:
            raise InputError(sentence("model", "be a file that exists", path, "check the path"))
        raise InputError(unknown_name("model", str(model), [*weights.names(), *VARIANTS]))
    return path


def resolve_device(device: str) -> torch.device:
    """Return the torch device that a name means, refusing one that is not there."""
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if available[name]))
    kind = str(device).partition(":")[0]
    if kind not in available:
        raise InputError(unknown_name("device", device, DEVICES))
    if not available[kind]:
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise InputError(sentence("device", f"be available here ({there})", repr(device), "use device='auto'"))
    return torch.device(device)


def as_mask_model(model: Any) -> MaskModel:
    """Return a model of the protocol for what a person passes: one already, or a network of ``sam_model_registry``."""
    if isinstance(model, MaskModel):
        return model
    if importlib.util.find_spec("torch"):
        from mobilesam.modeling import Sam
        from mobilesam.torch_sam import TorchSam

        if isinstance(model, Sam):
            return TorchSam(model)
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    raise InputError(
        sentence("model", "be a model of this package", kind, "build it with mobilesam.load or sam_model_registry")
    )


def require_torch(model: MaskModel, purpose: str) -> TorchSam:
    """Return ``model`` as the PyTorch one, or say that ``purpose`` needs it."""
    if importlib.util.find_spec("torch"):
        from mobilesam.torch_sam import TorchSam

        if isinstance(model, TorchSam):
            return model
        raise MissingDependencyError(f"{purpose} needs a model that runs on PyTorch; load it with backend='torch'")
    raise missing_dependency("torch", "torch", purpose)


def _need_torch(purpose: str) -> None:
    if not importlib.util.find_spec("torch"):
        raise missing_dependency("torch", "torch", purpose)
