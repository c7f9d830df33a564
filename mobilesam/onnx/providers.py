"""ONNX Runtime's execution providers by the short names people use."""

from __future__ import annotations

from collections.abc import Sequence

from mobilesam.errors import InputError, sentence, unknown_name

AUTO = "auto"
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}
# Which PyPI package brings a provider, where it is not the one that is installed.
_PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "openvino": "onnxruntime-openvino",
    "directml": "onnxruntime-directml",
    "qnn": "onnxruntime-qnn",
    "migraphx": "onnxruntime-migraphx",
    "rocm": "onnxruntime-rocm",
}


def available() -> list[str]:
    """Return the short names of the providers that the installed onnxruntime has, fastest first."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    names = {full: short for short, full in PROVIDERS.items()}
    return [names[full] for full in there if full in names]


def resolve(name: str) -> list[str]:
    """Return ONNX Runtime's own names for a provider and, behind it, the CPU for what it cannot run.

    Args:
        name: a short name, ONNX Runtime's own, or "auto" for CUDA where it is there, else the CPU.

    Raises:
        InputError: there is no such provider, or it is not in the installed onnxruntime.
    """
    if name == AUTO:
        return [PROVIDERS[each] for each in ("cuda", "cpu") if each in available()]
    if not isinstance(name, str):
        raise InputError(unknown_name("provider", name, [AUTO, *PROVIDERS]))
    short = {full.lower(): key for key, full in PROVIDERS.items()}.get(name.lower(), name.lower())
    if short not in PROVIDERS:
        raise InputError(unknown_name("provider", name, [AUTO, *PROVIDERS]))
    there = available()
    if short not in there:
        raise InputError(sentence("provider", f"be one of those here ({', '.join(there)})", repr(name), _remedy(short)))
    return list(dict.fromkeys([PROVIDERS[short], PROVIDERS["cpu"]]))


def _remedy(short: str) -> str:
    if short in _PACKAGES:
        return f"install {_PACKAGES[short]} in place of onnxruntime"
    return "use an onnxruntime that is built with it"


def check_used(name: str, used: Sequence[str]) -> None:
    """Refuse a session that fell back: ONNX Runtime goes on without a provider whose libraries it cannot load.

    Raises:
        InputError: the provider asked for by name is not in use.
    """
    if name != AUTO and resolve(name)[0] not in used:
        remedy = "its driver or libraries are missing: see ONNX Runtime's message above, or use the provider cpu"
        raise InputError(sentence("provider", "start", f"{name!r}, which did not", remedy))
