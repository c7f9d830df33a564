"""What commands over many pictures share: reading one, timing its steps, telling what went wrong with it."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from mobilesam.errors import InputError

if TYPE_CHECKING:
    from mobilesam.pixels import ImageArray


def read_source(source: str) -> ImageArray:
    """Return the picture at a path, or on standard input for ``-``, (H, W, 3) uint8 RGB."""
    from mobilesam.formats.naming import STDIN
    from mobilesam.image import read_image

    return read_image(sys.stdin.buffer if source == STDIN else source)


def failed(source: str, error: InputError) -> dict[str, str]:
    """Report a picture that could not be done, and describe it for JSON."""
    typer.echo(f"error: {error}" if source in str(error) else f"error: {source}: {error}", err=True)
    return {"image": source, "error": str(error)}


class Clock:
    """The milliseconds of named steps."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def measure(self, step: str) -> Iterator[None]:
        """Time the block as ``step``."""
        start = time.perf_counter()
        yield
        self.milliseconds[step] = round(1000 * (time.perf_counter() - start), 1)


@contextmanager
def warnings_of(source: str) -> Iterator[None]:
    """Name the picture in each warning about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        typer.echo(f"warning: {source}: {text}", err=True)
