"""Loading of models, for Python code, commands, the page, evaluation and batches."""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam import runtimes, weights
from mobilesam.config import DEFAULT, FLOAT32, PRECISIONS, VARIANTS
from mobilesam.errors import InputError, MissingDependencyError, sentence, unknown_name
from mobilesam.files import exists, expanded
from mobilesam.masks import choosers
from mobilesam.model import MaskModel
from mobilesam.onnx import fixed_folder
from mobilesam.optional import has_torch, import_torch
from mobilesam.runtimes import Request
from mobilesam.versions import installed_version
from mobilesam.weights import checkpoint

if TYPE_CHECKING:
    from mobilesam.modeling.torch_sam import TorchSam

BACKENDS = ("auto", *runtimes.NAMES)
DEVICES = ("auto", "cpu", "cuda", "mps")
_BY_SUFFIX = {suffix: name for name, suffix in runtimes.EXPORTED.items()}
_CUDA_DRIVER, _ROCM_DRIVER = "libcuda.so.1", Path("/dev/kfd")  # on Linux
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
    precision: str = FLOAT32,
) -> MaskModel:
    """Load a model for SamPredictor and all other classes and functions of this package.

    Args:
        model: a name from ``mobilesam weights list``; a checkpoint; or the folder or the files of an ONNX export, which
            may be one string with commas. By default the published weights, downloaded on first use.
        backend: "torch", "onnx", another of :data:`BACKENDS`, or "auto": ONNX Runtime on a CPU, where it is faster,
            whether PyTorch is installed or not, and PyTorch on its accelerators. A checkpoint of SAM's larger networks
            runs on PyTorch, and on ONNX Runtime once it is exported. Tensors, gradients and ``predictor.model`` as a
            network need "torch" by name.
        device: "cpu", "cuda" (with PyTorch also "cuda:1"), "mps", or "auto" for the fastest one available.
        threads: number of threads of a computation on the CPU; by default that of the framework. With ONNX Runtime it
            applies to this model. PyTorch has one number for the process, set with ``torch.set_num_threads``, which is
            not called by default.
        provider: an execution provider of ONNX Runtime by its short name, instead of ``device``: see
            :data:`mobilesam.onnx.providers.PROVIDERS`.
        pin_threads: whether to pin the calling thread to the first available core during each encode and decode, by its
            CPU affinity. ONNX Runtime's threads use the other cores, so that the caller does not compete with them: on
            2 cores a click after a pause took 20 ms instead of 21. No effect with PyTorch, on systems other than
            Linux, and unless there is one thread for each core of the machine.
        precision: "float32", or "bfloat16" with the backend "openvino" on processors that compute it (avx512_bf16 or
            AMX): faster, with masks that differ a little, see docs/performance.md.

    Raises:
        InputError: an argument has a wrong value, or the device is not available.
        WeightsError: the weights cannot be downloaded, or the model's choosers file is damaged, see
            :mod:`mobilesam.masks.choosers`.
        CheckpointError: the file is not a checkpoint of MobileSAM or SAM.
        MissingDependencyError: the backend is not installed.
    """
    if backend not in BACKENDS:
        raise InputError(unknown_name("backend", backend, BACKENDS))
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        remedy = "leave it out for the default"
        raise InputError(sentence("threads", "be a positive whole number", repr(threads), remedy))
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise InputError(unknown_name("device", device, DEVICES))
    if precision not in PRECISIONS:
        raise InputError(unknown_name("precision", precision, PRECISIONS))
    exported = find_export(model)

    @functools.cache
    def read_checkpoint() -> checkpoint.Checkpoint:
        return checkpoint.read(find_model(model))

    if backend == "auto":
        own = _BY_SUFFIX[exported[0].suffix] if exported else "onnx"
        backend = own if exported or provider or onnx_is_faster(device) else "torch"
        if backend == "onnx" and not (exported or provider or _is_name(model)) and has_torch():
            from mobilesam.onnx import templates

            # ONNX Runtime has templates for the default network. The others run on it once they are exported.
            if not templates.are_saved(find_model(model)) and read_checkpoint().variant != DEFAULT:
                backend = "torch"
    runtime = importlib.import_module(f"mobilesam.runtimes.{backend}")
    request = Request(
        exported=exported,
        find_checkpoint=lambda: find_model(model),
        read_checkpoint=read_checkpoint,
        device=device,
        provider=provider,
        threads=threads,
        pin_threads=pin_threads,
        precision=precision,
    )
    opened: MaskModel = runtime.open_model(request)
    if (source := choosers_source(model)) is not None:
        opened.choosers = choosers.find(source, lambda: opened.source_weights_id)
    return opened


def choosers_source(model: StrPath | Sequence[StrPath] | None) -> Path | None:
    """Return the checkpoint or folder that ``model`` names, for :mod:`mobilesam.masks.choosers`.

    None for published weights, whose choosers are in the package.
    """
    if exported := find_export(model):
        return exported[0].parent
    return None if _is_name(model) else find_model(model)


def _is_name(model: StrPath | Sequence[StrPath] | None) -> bool:
    """Return whether ``model`` names published weights."""
    return model is None or (isinstance(model, str) and model in (DEFAULT, *weights.names()))


def find_model(model: StrPath | Sequence[StrPath] | None) -> Path:
    """Return the checkpoint that ``model`` names, and download published weights if they are absent."""
    if model in (None, DEFAULT):
        return weights.ensure()
    if isinstance(model, str) and model in VARIANTS:
        remedy = "download its file from SAM's repository"
        raise InputError(sentence("model", f"be the file of a checkpoint of {model}", "its name", remedy))
    if not isinstance(model, (str, os.PathLike)):
        raise InputError(sentence("model", "be one file or folder", f"{len(model)} files", "name an ONNX export"))
    if isinstance(model, str) and model in weights.names():
        return weights.ensure(model)
    path = expanded(model)
    if not exists(path):
        if path.suffix or len(path.parts) > 1:
            raise InputError(sentence("model", "be a file that exists", path, "check the path"))
        raise InputError(unknown_name("model", str(model), [*weights.names(), DEFAULT]))
    return path


def find_export(model: StrPath | Sequence[StrPath] | None) -> list[Path]:
    """Return the exported files that ``model`` names, all of one runtime, or none if it names a checkpoint.

    The pair of ONNX files with the published weights is a checkpoint, because its decoder predicts one mask only.

    Raises:
        InputError: ``model`` is neither a path nor a sequence of paths.
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
        is_pair = all((paths[0] / name).is_file() for name in checkpoint.PAIR)
        runtime = fixed_folder.runtime_of(paths[0])
        suffixes = [runtimes.EXPORTED[runtime]] if runtime else [*runtimes.EXPORTED.values()]
        candidates = (sorted(paths[0].glob(f"*{suffix}")) for suffix in suffixes)
        absent = [paths[0] / f"encoder{suffixes[0]}"] if runtime else []  # its runtime says that it is missing
        return [] if is_pair else next(filter(None, candidates), absent)
    of_paths = {path.suffix for path in paths}
    of_one = len(of_paths) == 1 and of_paths <= _BY_SUFFIX.keys()
    return paths if of_one and all(exists(path) and path.is_file() for path in paths) else []


def onnx_is_faster(device: str) -> bool:
    """Return whether ONNX Runtime is faster on a device: PyTorch is not installed or has no accelerator there."""
    if not has_torch():
        return True
    # Importing torch to ask it takes a second or two, so first what is known without it.
    if device != "auto" or not _has_driver() or (installed_version("torch") or "").endswith("+cpu"):
        return device in ("auto", "cpu")
    from mobilesam.runtimes.torch import resolve_device

    return resolve_device(device).type == "cpu"


def _has_driver() -> bool:
    """Return whether the system has the driver of an accelerator that PyTorch may use; True if that is unknown."""
    if sys.platform != "linux" or exists(_ROCM_DRIVER):
        return True
    try:
        ctypes.CDLL(_CUDA_DRIVER)
    except OSError:
        return False
    return True


def as_mask_model(model: Any) -> MaskModel:
    """Return a network of ``sam_model_registry`` as a :class:`MaskModel`, or a MaskModel itself."""
    if isinstance(model, MaskModel):
        return model
    if has_torch():
        from mobilesam.modeling import Sam
        from mobilesam.modeling.torch_sam import TorchSam

        if isinstance(model, Sam):
            return TorchSam(model)
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    remedy = "build it with mobilesam.load or sam_model_registry"
    raise InputError(sentence("model", "be a model of this package", kind, remedy))


def require_torch(model: MaskModel, purpose: str) -> TorchSam:
    """Return ``model`` as a TorchSam, or raise MissingDependencyError because ``purpose`` needs it."""
    import_torch(purpose)
    from mobilesam.modeling.torch_sam import TorchSam

    if not isinstance(model, TorchSam):
        raise MissingDependencyError(f"{purpose} needs a model that runs on PyTorch. Load it with backend='torch'.")
    return model
