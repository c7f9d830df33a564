"""What a run reports: while it runs, at its end, and when it stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mobilesam.batch.journal import BadImage
from mobilesam.errors import MobileSamError
from mobilesam.storage import Place

Progress = Callable[[int, int, int], object]
OnWarning = Callable[[str], object]


class StoppedError(MobileSamError):
    """A strict run met a bad image."""


@dataclass(frozen=True)
class Report:
    """The result of a run.

    done: number of images with a result, including those of the run that was resumed. bad: the other images, including
    those with earlier results whose file can no longer be read; these results are kept.
    problems: sentences on prompts that were left out: entries that cannot be used, boxes outside of their image, and
    images that are not given.
    files: those with the results of all images. left_out: images without a prompt; more_left_out:
    how many more there are.
    """

    done: int
    bad: list[BadImage]
    files: list[Place]
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    more_left_out: int = 0


def stopped(image: BadImage, again: str) -> str:
    """Return the message of a strict run about a bad image."""
    named = image.source in image.reason or repr(image.source) in image.reason
    reason = (image.reason if named else f"{image.source}: {image.reason}").rstrip(".")
    return f"Stopped at the first bad image. {reason}. {again}"
