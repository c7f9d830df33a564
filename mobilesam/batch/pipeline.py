"""Reading, computing and writing at the same time, in one process, for a bounded number of images."""

from __future__ import annotations

import contextlib
import enum
import errno
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from mobilesam.arrays import UInt8Array
from mobilesam.batch.fingerprint import Fingerprint
from mobilesam.batch.notices import collect_warnings, divert_warnings
from mobilesam.batch.tasks import Outcome, Task, Work
from mobilesam.errors import InputError, is_out_of_memory

AHEAD = 2  # images read before the model wants them, and as many written after it has done with them


class Nothing(enum.Enum):
    """Why there is no task: none has come yet, or none will come."""

    YET = "yet"
    MORE = "more"


Take = Callable[[bool], Task | Nothing]


class _Read(NamedTuple):
    """An image that was read, and the notices about it."""

    image: UInt8Array
    fingerprint: Fingerprint
    notices: list[str]


def take_from(tasks: Iterable[Task]) -> Take:
    """Return what :func:`run_pipeline` takes tasks from."""
    iterator = iter(tasks)
    return lambda wait: next(iterator, Nothing.MORE)


def run_pipeline(work: Work, take: Take, ahead: int = AHEAD) -> Generator[Outcome]:
    """Yield the outcome of each task in the order in which they come.

    Warnings of the steps come as the notices of outcomes; those of the caller, between two outcomes, stay the caller's.

    Args:
        take: returns the next task; told to wait, it does not answer that none has come yet.

    Raises:
        InputError: a file cannot be written.
    """
    reading: deque[tuple[Task, Future[_Read]]] = deque()
    writing: deque[Future[Outcome]] = deque()
    more = True
    with (
        divert_warnings(),
        ThreadPoolExecutor(ahead, "read") as readers,
        ThreadPoolExecutor(ahead, "write") as writers,
    ):
        while more or reading or writing:
            while more and len(reading) < ahead:
                task = take(not (reading or writing))
                if isinstance(task, Nothing):
                    more = task is Nothing.YET
                    break
                reading.append((task, readers.submit(_read, work, task)))
            while writing and (len(writing) >= ahead or not reading or writing[0].done()):
                yield writing.popleft().result()
            if reading:
                writing.append(_computed(work, *reading.popleft(), writers))


def _read(work: Work, task: Task) -> _Read:
    with _notices_of(task) as notices:
        content, fingerprint = work.read(task)
        return _Read(work.decode(task, content), fingerprint, notices)


def _computed(work: Work, task: Task, reading: Future[_Read], writers: ThreadPoolExecutor) -> Future[Outcome]:
    """Run the model for one image and hand it on to be written."""
    try:
        read = reading.result()
        with _notices_of(task) as notices:
            computed = work.compute(task, read.image)
    except Exception as error:
        if not _is_bad(error):
            raise
        bad: Future[Outcome] = Future()
        bad.set_result(_bad(task, error))
        return bad
    read.notices.extend(notices)
    return writers.submit(_written, work, task, read, computed)


def _written(work: Work, task: Task, read: _Read, computed: Any) -> Outcome:
    try:
        with collect_warnings() as lost:  # what a format cannot hold is the same for all images
            result = work.write(task, read.image, computed)
    except Exception as error:
        cause = error.__cause__
        if _is_bad(error):
            if isinstance(cause, OSError) and cause.errno not in (errno.ENAMETOOLONG, errno.ENOMEM):
                raise
            return _bad(task, error)
        if not isinstance(error, OSError):
            raise
        raise InputError(
            f"The files of {task.source} cannot be written: {error}. Check the folder and the disk."
        ) from error
    notices = dict.fromkeys([*read.notices, *lost])
    return Outcome(task.number, result, notices=tuple(notices), fingerprint=read.fingerprint)


def _is_bad(error: Exception) -> bool:
    """Return whether an error is that of one image, and the run goes on."""
    return isinstance(error, InputError) or is_out_of_memory(error)


def _bad(task: Task, error: Exception) -> Outcome:
    reason = str(error) if isinstance(error, InputError) else "the image does not fit into memory"
    return Outcome(task.number, error=reason)


@contextlib.contextmanager
def _notices_of(task: Task) -> Iterator[list[str]]:
    """Collect warnings with the image's name before them."""
    with collect_warnings() as texts:
        yield texts
        texts[:] = [f"{task.source}: {text}" for text in texts]
