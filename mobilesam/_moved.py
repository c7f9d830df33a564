"""Deprecated aliases of names that moved."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that looks up moved names with a DeprecationWarning.

    Args:
        module: the ``__name__`` of the old module.
        homes: the full new name of each.
    """

    def look_up(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        message = f"{module}.{name} is now {homes[name]}. The old name will be removed in release 0.3."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        home, _, new_name = homes[name].rpartition(".")
        return getattr(importlib.import_module(home), new_name)

    return look_up
