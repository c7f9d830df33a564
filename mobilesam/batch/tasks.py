"""The task of one image, its steps and its outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from mobilesam import storage
from mobilesam.arrays import UInt8Array
from mobilesam.batch.fingerprint import Fingerprint, ImageFile, read_file
from mobilesam.errors import InputError, sentence
from mobilesam.formats.naming import Names
from mobilesam.image.read import MAX_BYTES, decode_image, read_image
from mobilesam.prompts.file import ObjectPrompt
from mobilesam.storage import is_url


@dataclass(frozen=True)
class Task:
    """An image to process.

    number: its index among the images of the run. source: its path. file_name: its name in the results.
    names: of its output files. prompts: its objects; empty in everything mode. error: why the image cannot be used.
    """

    number: int
    source: str
    file_name: str
    names: Names
    prompts: tuple[ObjectPrompt, ...] = ()
    error: str = ""

    def read(self) -> ImageFile:
        """Return the image file.

        Raises:
            InputError: it cannot be read.
        """
        return read_file(self.source)

    def absolute(self) -> Task:
        """Return the task for a process with another working directory."""
        names = Names(self.names.folder.absolute(), self.names.stem)
        return replace(self, source=str(Path(self.source).absolute()), names=names)


@dataclass(frozen=True)
class ListedTask(Task):
    """An image that :mod:`mobilesam.batch.listing` yields; its names are relative to the folder of the results.

    content: its bytes, if it is in an archive.
    """

    content: bytes | None = field(default=None, repr=False)

    def read(self) -> ImageFile:
        if self.error:
            raise InputError(self.error)
        if self.content is None and not is_url(self.source):
            return read_file(self.source)
        content = storage.read(self.source, MAX_BYTES) if self.content is None else self.content
        if not content:
            actual = f"{self.source}, which is empty (zero bytes)"
            raise InputError(sentence("image", "be an image", actual, "replace the file"))
        return ImageFile(content, Fingerprint(len(content), 0, hashlib.sha256(content).hexdigest()))

    def absolute(self) -> Task:
        is_path = self.content is None and not is_url(self.source)
        return replace(self, source=str(Path(self.source).absolute())) if is_path else self


@dataclass(frozen=True)
class Outcome:
    """The result of a task, which :meth:`Work.write` returned, or its error.

    warnings: each to be shown once. fingerprint: of the file that the result was computed from. problems: prompts that
    were left out of the result.
    """

    number: int
    result: Any = b""
    error: str | None = None
    warnings: tuple[str, ...] = ()
    fingerprint: Fingerprint | None = None
    problems: tuple[str, ...] = ()


class Work(Protocol):
    """The steps of a task, which overlap with those of other tasks.

    ``read``, ``decode`` and ``write`` run in threads, ``encode`` and ``compute`` in one thread only. An InputError or
    an out-of-memory error of any library marks the image as bad. An OSError in ``write`` ends the run, because the
    files of the next image could not be written either.

    encode_batch: the most images that ``encode`` is called with.
    """

    encode_batch: int = 1

    def read(self, task: Task) -> ImageFile:
        """Return the image file."""
        return task.read()

    def decode(self, task: Task, content: bytes) -> UInt8Array:
        """Return the image, (H, W, 3) uint8 RGB; without content, see :class:`ImageFile`, it is read from its path."""
        return decode_image(content, task.source) if content else read_image(task.source)

    def encode(self, tasks: Sequence[Task], images: Sequence[UInt8Array]) -> Sequence[Any]:
        """Run the image encoder; an error for several images is tried again with each of them."""
        return [None] * len(tasks)

    def compute(self, task: Task, image: UInt8Array, encoded: Any) -> Any:
        """Run the rest of the model on what ``encode`` returned for the image, which is the result by default."""
        return encoded

    def write(self, task: Task, image: UInt8Array, computed: Any) -> Any:
        """Write the files of the image and return its result: bytes for the journal."""

    def problems(self, computed: Any) -> tuple[str, ...]:
        """Return why prompts were left out of what ``compute`` returned."""
        return ()
