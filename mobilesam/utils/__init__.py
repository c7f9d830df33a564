"""The modules of SAM's ``utils``, for programs that import them; nothing of this package uses them."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name not in ("amg", "onnx", "transforms"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
