"""The one way to get a model: for Python code, commands, the page, evaluation and batches alike."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam import runtimes, weights
from mobilesam.config import VARIANTS
from mobilesam.errors import InputError, MissingDependencyError, missing_dependency, sentence, unknown_name
from mobilesam.files import exists, expanded
from mobilesam.model import MaskModel
from mobilesam.runtimes import Request
from mobilesam.versions import installed_version
from mobilesam.weights import checkpoint

if TYPE_CHECKING:
    from mobilesam.modeling.torch_sam import TorchSam

BACKENDS = ("auto", *runtimes.NAMES)
DEVICES = ("auto", "cpu", "cuda", "mps")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:(0|[1-9]\d?))?", re.ASCII)

StrPath = str | os.PathLike[str]


def load(
    model: StrPath | Sequence[StrPath] | None = None,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    provider: str | None = None,
    *,
    pin_threads: bool = False,
) -> MaskModel:
    """Load a model that SamPredictor and everything else here runs on.

    Args:
        model: a name that ``mobilesam weights list`` shows; a checkpoint; or the folder or the files of an ONNX export,
            also as one text with commas. By default the published weights, fetched on first use.
        backend: "torch", "onnx", or "auto": ONNX Runtime on a CPU, where it is faster, PyTorch on its accelerators.
        device: "cpu", "cuda" (with PyTorch also "cuda:1"), "mps", or "auto" for the fastest that is there.
        threads: how many threads a computation on the CPU uses; by default the framework's own choice. ONNX Runtime
            keeps the number for this model. PyTorch has one number for the whole process: it is set with
            ``torch.set_num_threads`` and stays set. Without ``threads`` that is not called.
        provider: an execution provider of ONNX Runtime by its short name, in place of ``device``: see
            :data:`mobilesam.onnx.providers.PROVIDERS`.
        pin_threads: whether to move the thread that calls the model to the first core that it may use, at each encode
            and decode, by changing its CPU affinity and putting it back at once. ONNX Runtime's own threads stay on
            the other cores, so the caller does not wait for one of them: on 2 cores a click after a pause took 20 ms
            instead of 21. By default the affinity of the caller is never changed. Without effect with PyTorch, on
            other systems than Linux, and unless there is one thread for each core of the machine.

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
    _check_device(device)
    exported = find_export(model)
    if backend == "auto":
        backend = "onnx" if exported or provider or onnx_is_faster(device) else "torch"
    runtime = importlib.import_module(f"mobilesam.runtimes.{backend}")
    request = Request(
        exported=exported,
        find_checkpoint=lambda: find_model(model),
        device=device,
        provider=provider,
        threads=threads,
        pin_threads=pin_threads,
    )
    opened: MaskModel = runtime.open_model(request)
    return opened


def find_model(model: StrPath | Sequence[StrPath] | None) -> Path:
    """Return the checkpoint that ``model`` names, fetching published weights if they are absent."""
    if model is None:
        return weights.ensure()
    if not isinstance(model, (str, os.PathLike)):
        raise InputError(sentence("model", "be one file or folder", f"{len(model)} files", "name an ONNX export"))
    if isinstance(model, str) and model in VARIANTS:
        return weights.ensure()
    if isinstance(model, str) and model in weights.names():
        return weights.ensure(model)
    path = expanded(model)
    if not exists(path):
        looks_like_path = path.suffix or len(path.parts) > 1
        if looks_like_path:
            raise InputError(sentence("model", "be a file that exists", path, "check the path"))
        raise InputError(unknown_name("model", str(model), [*weights.names(), *VARIANTS]))
    return path


def find_export(model: StrPath | Sequence[StrPath] | None) -> list[Path]:
    """Return the ONNX files that ``model`` names to be run as they are, or none if it names anything else.

    The pair that the published weights come from is a checkpoint: run as it is, it gives one mask for one prompt.

    Raises:
        InputError: ``model`` is neither a path nor several.
    """
    if model is None:
        return []
    if isinstance(model, str):
        model = model.split(",")
    try:
        paths = [expanded(each) for each in ([model] if isinstance(model, os.PathLike) else model)]
    except TypeError as error:
        actual = type(model).__name__
        raise InputError(sentence("model", "be a name or a path", actual, "see mobilesam weights list")) from error
    if len(paths) == 1 and exists(paths[0]) and paths[0].is_dir():
        files = sorted(paths[0].glob("*.onnx"))
        is_pair = all((paths[0] / name).is_file() for name in checkpoint.PAIR)
        return [] if is_pair else files
    return paths if all(path.suffix == ".onnx" and exists(path) and path.is_file() for path in paths) else []


def onnx_is_faster(device: str) -> bool:
    """Return whether PyTorch is not installed, or has no accelerator for this device to use."""
    if not importlib.util.find_spec("torch"):
        return True
    # PyTorch's own index labels its builds for CPUs, and a version is read in no time. Other builds, such as PyPI's for
    # macOS and ARM, have no label: there torch is imported, which takes a second, and asked.
    cpu_build = (installed_version("torch") or "").endswith("+cpu")
    if device != "auto" or cpu_build:
        return device in ("auto", "cpu")
    from mobilesam.runtimes.torch import resolve_device

    return resolve_device(device).type == "cpu"


def _check_device(device: object) -> None:
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise InputError(unknown_name("device", device, DEVICES))


def as_mask_model(model: Any) -> MaskModel:
    """Return a model of the protocol for what a person passes: one already, or a network of ``sam_model_registry``."""
    if isinstance(model, MaskModel):
        return model
    if importlib.util.find_spec("torch"):
        from mobilesam.modeling import Sam
        from mobilesam.modeling.torch_sam import TorchSam

        if isinstance(model, Sam):
            return TorchSam(model)
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    raise InputError(
        sentence("model", "be a model of this package", kind, "build it with mobilesam.load or sam_model_registry")
    )


def require_torch(model: MaskModel, purpose: str) -> TorchSam:
    """Return ``model`` as the PyTorch one, or say that ``purpose`` needs it."""
    if importlib.util.find_spec("torch"):
        from mobilesam.modeling.torch_sam import TorchSam

        if isinstance(model, TorchSam):
            return model
        raise MissingDependencyError(f"{purpose} needs a model that runs on PyTorch; load it with backend='torch'")
    raise missing_dependency("torch", "torch", purpose)
