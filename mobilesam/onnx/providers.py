"""The execution providers of ONNX Runtime by short names."""

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
# The PyPI packages with a provider, other than onnxruntime.
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
    """Return the short names of the providers of the installed onnxruntime, fastest first."""
    import onnxruntime

    names = {full: short for short, full in PROVIDERS.items()}
    return [names[full] for full in onnxruntime.get_available_providers() if full in names]


def resolve(name: str) -> list[str]:
    """Return ONNX Runtime's names of a provider, and of the CPU as the fallback for unsupported operators.

    Args:
        name: a short name, ONNX Runtime's name, or "auto" for CUDA if it is available, else the CPU.

    Raises:
        InputError: the provider is unknown, or the installed onnxruntime does not have it.
    """
    if name == AUTO:
        return [PROVIDERS[each] for each in ("cuda", "cpu") if each in available()]
    lower = name.lower() if isinstance(name, str) else ""
    short = {full.lower(): key for key, full in PROVIDERS.items()}.get(lower, lower)
    if short not in PROVIDERS:
        raise InputError(unknown_name("provider", name, [AUTO, *PROVIDERS]))
    choices = available()
    if short not in choices:
        package = _PACKAGES.get(short)
        remedy = f"install {package} instead of onnxruntime" if package else "use an onnxruntime that is built with it"
        raise InputError(sentence("provider", f"be available here ({', '.join(choices)})", repr(name), remedy))
    return list(dict.fromkeys([PROVIDERS[short], PROVIDERS["cpu"]]))


def check_used(name: str, used: Sequence[str]) -> None:
    """Raise InputError if a session does not use a provider that was given by name.

    ONNX Runtime falls back to the CPU when it cannot load the libraries of a provider.
    """
    if name != AUTO and resolve(name)[0] not in used:
        raise InputError(
            f"The provider {name!r} did not start, because its driver or libraries are missing. See the message of "
            "ONNX Runtime above, or use the provider cpu."
        )
