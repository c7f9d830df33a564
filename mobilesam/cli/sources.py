"""What commands over many images share: reading one, timing its steps, and naming it in warnings."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from mobilesam.cli.options import UsageError
from mobilesam.errors import InputError, sentence

if TYPE_CHECKING:
    from mobilesam.arrays import UInt8Array


def read_source(source: str) -> UInt8Array:
    """Return the image at a path, or on standard input for ``-``, (H, W, 3) uint8 RGB."""
    from mobilesam.formats.naming import STDIN
    from mobilesam.image.read import read_image

    if source != STDIN:
        return read_image(source)
    if sys.stdin is None:
        raise InputError(sentence("standard input", "be open for -", "none", "send an image file to it"))
    return read_image(sys.stdin.buffer)


def refuse_repeated_stdin(sources: Sequence[str]) -> None:
    """Raise UsageError if standard input, which holds one image, is named twice."""
    from mobilesam.formats.naming import STDIN

    if sources.count(STDIN) > 1:
        actual = f"{sources.count(STDIN)} times"
        raise UsageError(sentence("-", "be given once", actual, "standard input holds one image"))


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
    """Name the image in each warning about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        typer.echo(f"warning: {source}: {text}", err=True)
