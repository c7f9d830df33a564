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

NAMES = ("torch", "onnx", "openvino", "litert")
# The runtime of exported files, by their suffix.
EXPORTED = {".onnx": "onnx", ".tflite": "litert"}


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
