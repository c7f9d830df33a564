"""The sample photos of the package, which the page offers."""

from __future__ import annotations

import importlib.resources
from pathlib import PurePath

from mobilesam import samples as package


def samples() -> list[dict[str, str]]:
    """Return the file name and the title of each photo."""
    photos = [name for name in package.NAMES if name.endswith(".jpg")]
    return [{"file": name, "title": PurePath(name).stem.capitalize()} for name in photos]


def read_sample(name: str) -> bytes:
    """Return the content of one of the photos of :func:`samples`."""
    return importlib.resources.files(package).joinpath(name).read_bytes()
