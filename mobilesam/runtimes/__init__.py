"""What a model runs on: one module for each runtime, named as the backend is.

To add a runtime, write a module here with a function ``open_model(request: Request) -> MaskModel`` and add its name to
:data:`NAMES`. It raises InputError for what it cannot do, such as a device, and MissingDependencyError with the pip
command where its package is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NAMES = ("torch", "onnx")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A model to open, with the arguments of :func:`mobilesam.load`.

    exported: the files of an ONNX export; if there are none, the model is a checkpoint.
    find_checkpoint: returns the path of the checkpoint; it fetches published weights that are absent.
    """

    exported: list[Path]
    find_checkpoint: Callable[[], Path]
    device: str
    provider: str | None
    threads: int | None
    pin_threads: bool
