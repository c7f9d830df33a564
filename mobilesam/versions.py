"""The versions of installed packages."""

from __future__ import annotations


def installed_version(distribution: str, module: str | None = None) -> str | None:
    """Return the version of a package from its metadata, as pip shows it, or None if it is not installed.

    The metadata and the module's ``__version__`` may differ: PyPI's wheels of PyTorch have 2.14.1 in their metadata and
    2.14.1+cu130 in the module.

    Args:
        distribution: name on PyPI.
        module: imported for its ``__version__`` if there is no metadata, as in a build from source, or if another
            distribution (opencv-python-headless) contains the module.

    Raises:
        ImportError: there is no metadata, and the module cannot be imported.
    """
    import importlib.metadata

    try:
        version = importlib.metadata.version(distribution)
    except (importlib.metadata.PackageNotFoundError, KeyError):  # KeyError: incomplete metadata after a failed upgrade
        version = None
    if version is None and module is not None:
        version = getattr(importlib.import_module(module.partition(".")[0]), "__version__", "of unknown version")
    return version
