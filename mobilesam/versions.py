"""The versions of installed packages, from one place."""

from __future__ import annotations

import importlib
import importlib.metadata


def installed_version(distribution: str, module: str | None = None) -> str | None:
    """Return the version of a package by its metadata, as pip shows it; None if it is not installed.

    The metadata and the module's ``__version__`` may differ: a wheel of PyTorch from PyPI says 2.14.1 in its metadata
    and 2.14.1+cu130 in the module.

    Args:
        distribution: its name on PyPI.
        module: imported for its ``__version__`` where there is no metadata, as in a build of one's own or where another
            distribution (opencv-python-headless) brings the module.

    Raises:
        ImportError: there is no metadata, and the module does not import.
    """
    try:
        version = importlib.metadata.version(distribution)
    except (importlib.metadata.PackageNotFoundError, KeyError):  # KeyError: metadata that an upgrade left half removed
        version = None
    if version is None and module is not None:
        version = getattr(importlib.import_module(module.partition(".")[0]), "__version__", "of unknown version")
    return version
