"""The runtimes of models: one module for each backend, under its name.

To add a runtime, write a module here with a function ``open_model(request: Request) -> MaskModel`` and add its name to
:data:`NAMES`. It raises InputError for unsupported settings, such as a device, and MissingDependencyError with the pip
command if its package is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mobilesam.config import FLOAT32
from mobilesam.errors import InputError, sentence
from mobilesam.weights.checkpoint import Checkpoint

NAMES = ("torch", "onnx", "openvino", "litert", "ncnn")
# The suffix of exported files, by runtime.
EXPORTED = {"onnx": ".onnx", "litert": ".tflite", "openvino": ".xml", "ncnn": ".param", "coreml": ".mlpackage"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A model to open, with the arguments of :func:`mobilesam.load`.

    exported: the files of an export; empty if the model is a checkpoint.
    find_checkpoint: returns the path of the checkpoint, and fetches the official weights if they are absent.
    read_checkpoint: returns its content, which is read once.
    """

    exported: list[Path]
    find_checkpoint: Callable[[], Path]
    read_checkpoint: Callable[[], Checkpoint]
    device: str
    provider: str | None
    threads: int | None
    pin_threads: bool
    precision: str

    def require_float32(self, backend: str) -> None:
        """Raise InputError if another precision was given."""
        if self.precision != FLOAT32:
            remedy = "use the backend openvino, or leave it out"
            raise InputError(sentence("precision", f"be float32 for the backend {backend}", self.precision, remedy))

    def require_no_provider(self, backend: str) -> None:
        """Raise InputError if an execution provider of ONNX Runtime was given."""
        if self.provider is not None:
            actual = f"backend {backend!r}"
            raise InputError(sentence("provider", "be used with the onnx backend", actual, "leave one of them out"))

    def require_folder(self, backend: str, title: str) -> Path:
        """Return the folder of an export to a backend, which takes no other settings than threads."""
        self.require_no_provider(backend)
        self.require_float32(backend)
        if self.device not in ("auto", "cpu"):
            remedy = "use the backend torch or onnx for another device"
            raise InputError(sentence("device", f"be cpu or auto for the backend {backend}", repr(self.device), remedy))
        if not self.exported or self.exported[0].suffix != EXPORTED[backend]:
            actual = f"{self.exported[0] if self.exported else self.find_checkpoint()}"
            remedy = f"export the model with: mobilesam export --to {backend}"
            raise InputError(sentence("model", f"be an export to {title} for the backend {backend}", actual, remedy))
        return self.exported[0].parent
