"""What is to be done with one image, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from mobilesam.arrays import UInt8Array
from mobilesam.batch.fingerprint import Fingerprint, ImageFile, read_file
from mobilesam.formats.naming import Names
from mobilesam.image.read import decode_image, read_image
from mobilesam.prompts.file import ObjectPrompt


@dataclass(frozen=True)
class Task:
    """An image in its place.

    number: from 0, in the order of the results. source: its file. file_name: what results call it.
    names: of its files. prompts: its objects, if it is not asked for everything.
    """

    number: int
    source: str
    file_name: str
    names: Names
    prompts: tuple[ObjectPrompt, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a task: a result for the journal, or the reason why there is none.

    notices: what else should be told, each once. fingerprint: of the file that the result belongs to.
    """

    number: int
    result: bytes = b""
    error: str | None = None
    notices: tuple[str, ...] = ()
    fingerprint: Fingerprint | None = None


class Work(Protocol):
    """The four steps of a task, which overlap with those of other tasks.

    ``read``, ``decode`` and ``write`` run in threads, ``compute`` in one thread only. An InputError, and a lack of
    memory whichever way it is reported, mean that the image is bad; an OSError in ``write`` ends the run, since the
    next image could not be written either.
    """

    def read(self, task: Task) -> ImageFile:
        """Return the image's file."""

    def decode(self, task: Task, content: bytes) -> UInt8Array:
        """Return the image, (H, W, 3) uint8 RGB, that the file holds."""

    def compute(self, task: Task, image: UInt8Array) -> Any:
        """Run the model."""

    def write(self, task: Task, image: UInt8Array, computed: Any) -> bytes:
        """Write the image's files, and return its result for the journal."""


class ImageWork:
    """The first two steps of work on image files."""

    def read(self, task: Task) -> ImageFile:
        """Return the image's file."""
        return read_file(task.source)

    def decode(self, task: Task, content: bytes) -> UInt8Array:
        """Return the image; one without content is read from its path, see :class:`ImageFile`."""
        return decode_image(content, task.source) if content else read_image(task.source)
