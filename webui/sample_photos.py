"""The sample photos of the package, which the page offers."""

from __future__ import annotations

import importlib.resources

from mobilesam import samples as package


def samples() -> list[str]:
    """Return the file name of each photo."""
    return list(package.PHOTOS)


def read_sample(name: str) -> bytes:
    """Return the content of one of the photos of :func:`samples`."""
    return importlib.resources.files(package).joinpath(name).read_bytes()
