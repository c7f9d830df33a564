"""PyTorch, which only some functions need, and its absence."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from mobilesam.errors import missing_dependency


def has_torch() -> bool:
    """Return whether PyTorch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def import_torch(purpose: str) -> Any:
    """Return the module torch.

    Args:
        purpose: what needs it, for the message.

    Raises:
        MissingDependencyError: PyTorch is not installed.
    """
    if not has_torch():
        raise missing_dependency("torch", "torch", purpose)
    return importlib.import_module("torch")
