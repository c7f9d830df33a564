"""The runtimes of models: one module for each backend, under its name.

To add a runtime, write a module here with a function ``open_model(request: Request) -> MaskModel`` and add its name to
:data:`NAMES`. It raises InputError for unsupported settings, such as a device, and MissingDependencyError with the pip
command if its package is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mobilesam.weights.checkpoint import Checkpoint

NAMES = ("torch", "onnx")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A model to open, with the arguments of :func:`mobilesam.load`.

    exported: the files of an ONNX export; empty if the model is a checkpoint.
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
