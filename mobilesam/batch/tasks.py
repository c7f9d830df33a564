"""What is to be done with one picture, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mobilesam.formats.naming import Names
from mobilesam.prompt_file import ObjectPrompt

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Task:
    """A picture in its place.

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

    notices: what else should be told, each once.
    """

    number: int
    result: bytes = b""
    error: str | None = None
    notices: tuple[str, ...] = ()


class Work(Protocol):
    """The three steps of a task, which overlap with those of other tasks.

    ``read`` and ``write`` run in threads, ``compute`` in one thread only. InputError means that the picture is bad; one
    that an OSError caused in ``write`` ends the run, since the next picture could not be written either.
    """

    def read(self, task: Task) -> UInt8Array:
        """Return the picture, (H, W, 3) uint8 RGB."""

    def compute(self, task: Task, image: UInt8Array) -> Any:
        """Run the model."""

    def write(self, task: Task, image: UInt8Array, computed: Any) -> bytes:
        """Write the picture's files, and return its result for the journal."""
