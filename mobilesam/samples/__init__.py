"""Sample photos, with prompts and annotations: what the documentation's examples use.

NOTICE credits the photos. All four are in the public domain.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from mobilesam.files import refuse_existing, write_bytes

PHOTOS = ("cat.jpg", "coffee.jpg", "rocket.jpg", "astronaut.jpg")
NAMES = (*PHOTOS, "prompts.json", "instances.json")


def write_samples(folder: Path, *, force: bool = False) -> list[Path]:
    """Write four JPEG photos, a prompt file and COCO annotations into a folder, and return their paths.

    ``prompts.json`` has points and boxes for each photo. ``instances.json`` has hand-drawn outlines of five objects.

    Args:
        folder: made if absent.
        force: overwrite files of these names.

    Raises:
        InputError: a file of these names exists and ``force`` is False, or a file cannot be written.
    """
    for name in NAMES:
        refuse_existing(folder / name, force=force)
    for name in NAMES:
        write_bytes(folder / name, importlib.resources.files(__name__).joinpath(name).read_bytes(), force=force)
    return [folder / name for name in NAMES]
