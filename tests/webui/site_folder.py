"""The folder of ``mobilesam site`` for tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mobilesam import samples
from mobilesam.errors import WeightsError
from mobilesam.export import site_runtime
from mobilesam.export.site import write_site
from mobilesam.export.site_source import source_of


def written(out: Path, precision: str) -> Path:
    """Write the folder, with the sample photos as PNG beside the page."""
    try:
        runtime = site_runtime.fetch()
    except WeightsError as error:
        pytest.skip(str(error))
    with source_of(None) as source:
        write_site(source, out, runtime, precision=precision)
    for name in samples.PHOTOS:
        with Image.open(Path(samples.__file__).with_name(name)) as photo:
            photo.convert("RGB").save(out / f"{Path(name).stem}.png")
    return out
