"""Reading, computing and writing at the same time, in one process, for a bounded number of pictures."""

from __future__ import annotations

import enum
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Self

from mobilesam.batch.tasks import Outcome, Task, UInt8Array, Work
from mobilesam.errors import FormatLossWarning, InputError

AHEAD = 2  # pictures read before the model wants them, and as many written after it has done with them


class Nothing(enum.Enum):
    """Why there is no task: none has come yet, or none will come."""

    YET = "yet"
    MORE = "more"


Take = Callable[[bool], Task | Nothing]


def take_from(tasks: Iterable[Task]) -> Take:
    """Return what :func:`run_pipeline` takes tasks from."""
    iterator = iter(tasks)
    return lambda wait: next(iterator, Nothing.MORE)


def run_pipeline(work: Work, take: Take, ahead: int = AHEAD) -> Iterator[Outcome]:
    """Yield the outcome of each task in the order in which they come.

    Args:
        take: returns the next task; told to wait, it does not answer that none has come yet.

    Raises:
        InputError: a file cannot be written.
    """
    reading: deque[tuple[Task, Future[UInt8Array]]] = deque()
    writing: deque[Future[Outcome]] = deque()
    more = True
    with (
        _Said() as said,
        ThreadPoolExecutor(ahead, "read") as readers,
        ThreadPoolExecutor(ahead, "write") as writers,
    ):
        while more or reading or writing:
            while more and len(reading) < ahead:
                task = take(not (reading or writing))
                if isinstance(task, Nothing):
                    more = task is Nothing.YET
                    break
                reading.append((task, readers.submit(work.read, task)))
            while writing and (len(writing) >= ahead or not reading or writing[0].done()):
                yield replace(writing.popleft().result(), notices=said.drain())
            if reading:
                task, image = reading.popleft()
                said.source = task.source
                writing.append(_computed(work, task, image, writers))


def _computed(work: Work, task: Task, reading: Future[UInt8Array], writers: ThreadPoolExecutor) -> Future[Outcome]:
    """Run the model for one picture and hand it on to be written."""
    try:
        image = reading.result()
        computed = work.compute(task, image)
    except (InputError, MemoryError) as error:
        reason = str(error) if isinstance(error, InputError) else "the picture does not fit into memory"
        bad: Future[Outcome] = Future()
        bad.set_result(Outcome(task.number, error=reason))
        return bad
    return writers.submit(_written, work, task, image, computed)


def _written(work: Work, task: Task, image: UInt8Array, computed: Any) -> Outcome:
    try:
        return Outcome(task.number, work.write(task, image, computed))
    except InputError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return Outcome(task.number, error=str(error))


class _Said:
    """Collects warnings while it is entered: those of the model with the picture's name, those of writers as they are.

    What a format cannot hold is the same for all pictures.
    """

    def __init__(self) -> None:
        self.source = ""
        self._thread = threading.get_ident()
        self._texts: list[str] = []
        self._scope = warnings.catch_warnings()

    def __enter__(self) -> Self:
        self._scope.__enter__()
        warnings.simplefilter("always")
        warnings.showwarning = self._show
        return self

    def __exit__(self, *_: object) -> None:
        self._scope.__exit__(None, None, None)

    def drain(self) -> tuple[str, ...]:
        """Return what was said since the last call."""
        texts, self._texts = self._texts, []
        return tuple(dict.fromkeys(texts))

    def _show(self, message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        named = threading.get_ident() == self._thread and not issubclass(category, FormatLossWarning)
        self._texts.append(f"{self.source}: {message}" if named else str(message))
