"""Read, segment and write a bounded number of images at the same time, in one process."""

from __future__ import annotations

import contextlib
import errno
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, NamedTuple

from mobilesam.arrays import UInt8Array
from mobilesam.batch.fingerprint import Fingerprint
from mobilesam.batch.tasks import Outcome, Task, Work
from mobilesam.errors import InputError, is_out_of_memory

AHEAD = 2  # images read before the model needs them, and as many being written

# Takes whether to wait. Returns the next task, or None after the last one; raises NoTaskYet if it must not wait.
Take = Callable[[bool], Task | None]


class NoTaskYet(Exception):
    """The next task is not known yet."""


class _Read(NamedTuple):
    image: UInt8Array
    fingerprint: Fingerprint
    warnings: list[str]


def take_from(tasks: Iterable[Task]) -> Take:
    """Return the ``take`` of :func:`run_pipeline` for a sequence of tasks."""
    iterator = iter(tasks)
    return lambda wait: next(iterator, None)


def run_pipeline(work: Work, take: Take, ahead: int = AHEAD) -> Generator[Outcome]:
    """Yield the outcome of each task, in the order of the tasks.

    Warnings of the steps are in the outcomes. Warnings that the caller raises between two outcomes are not touched.

    Raises:
        InputError: a file cannot be written.
    """
    most = work.encode_batch
    reading: deque[tuple[Task, Future[_Read]]] = deque()
    writing: deque[Future[Outcome]] = deque()
    more = True
    with (
        _collection(),
        ThreadPoolExecutor(ahead, "read") as readers,
        ThreadPoolExecutor(ahead, "write") as writers,
    ):
        while more or reading or writing:
            with contextlib.suppress(NoTaskYet):
                while more and len(reading) < ahead + most - 1:
                    if task := take(not (reading or writing)):
                        reading.append((task, readers.submit(_read, work, task)))
                    else:
                        more = False
            while writing and (len(writing) >= ahead or not reading or writing[0].done()):
                yield writing.popleft().result()
            if reading:
                group = [reading.popleft() for _ in range(min(most, len(reading)))]
                writing.extend(_compute(work, group, writers))


def _read(work: Work, task: Task) -> _Read:
    if task.error:
        raise InputError(task.error)
    with _collected(f"{task.source}: ") as texts:
        content, fingerprint = work.read(task)
        return _Read(work.decode(task, content), fingerprint, texts)


def _compute(
    work: Work, group: Sequence[tuple[Task, Future[_Read]]], writers: ThreadPoolExecutor
) -> list[Future[Outcome]]:
    """Run the model on images and submit their results to be written."""
    ready = [(task, reading.result()) for task, reading in group if reading.exception() is None]
    encoded: dict[int, Any] = {}
    if len(ready) > 1:
        tasks, images = [task for task, _ in ready], [read.image for _, read in ready]
        try:
            encoded = {task.number: each for task, each in zip(tasks, work.encode(tasks, images), strict=True)}
        except Exception as error:  # raised again below unless an image is the cause
            if not _is_bad(error):
                raise
    return [_compute_one(work, task, reading, encoded, writers) for task, reading in group]


def _compute_one(
    work: Work, task: Task, reading: Future[_Read], encoded: Mapping[int, Any], writers: ThreadPoolExecutor
) -> Future[Outcome]:
    try:
        read = reading.result()
        with _collected(f"{task.source}: ") as texts:
            known = [encoded[task.number]] if task.number in encoded else work.encode([task], [read.image])
            computed = work.compute(task, read.image, known[0])
    except Exception as error:  # raised again below unless the image is the cause
        if not _is_bad(error):
            raise
        bad: Future[Outcome] = Future()
        bad.set_result(_bad(task, error))
        return bad
    read.warnings.extend(texts)
    return writers.submit(_write, work, task, read, computed)


def _write(work: Work, task: Task, read: _Read, computed: Any) -> Outcome:
    try:
        with _collected() as texts:  # without the image: a format has the same limits for all images
            result = work.write(task, read.image, computed)
    except Exception as error:  # raised again below unless the image or its files are the cause
        cause = error.__cause__
        if _is_bad(error):
            if isinstance(cause, OSError) and cause.errno not in (errno.ENAMETOOLONG, errno.ENOMEM):
                raise
            return _bad(task, error)
        if not isinstance(error, OSError):
            raise
        raise InputError(
            f"The files of {task.source} cannot be written: {error}. Check the folder and the free disk space."
        ) from error
    texts = list(dict.fromkeys([*read.warnings, *texts]))
    return Outcome(task.number, result, None, tuple(texts), read.fingerprint, work.problems(computed))


def _is_bad(error: Exception) -> bool:
    """Return whether an error concerns one image, so that the run continues."""
    return isinstance(error, InputError) or is_out_of_memory(error)


def _bad(task: Task, error: Exception) -> Outcome:
    reason = str(error) if isinstance(error, InputError) else "the image does not fit into memory"
    return Outcome(task.number, error=reason)


# ``warnings.catch_warnings`` changes the warnings of every thread, so a running pipeline replaces ``warnings.warn``.
# Warnings of C code, such as NumPy's of a division by zero, do not pass through it and are not collected.
_texts: ContextVar[list[str] | None] = ContextVar("texts", default=None)
_lock = threading.Lock()
_pipelines = 0  # that run now
_original: Callable[..., None] = warnings.warn


@contextlib.contextmanager
def _collected(prefix: str = "") -> Iterator[list[str]]:
    """Yield a list of the warnings of this thread, complete afterwards; :func:`_collection` must be entered."""
    texts: list[str] = []
    token = _texts.set(texts)
    try:
        yield texts
    finally:
        _texts.reset(token)
        texts[:] = [prefix + text for text in texts]


@contextlib.contextmanager
def _collection() -> Iterator[None]:
    """Replace ``warnings.warn``, which does the same as before outside :func:`_collected`."""
    global _pipelines, _original
    with _lock:
        if not _pipelines:
            _original, warnings.warn = warnings.warn, _warn
        _pipelines += 1
    try:
        yield
    finally:
        with _lock:
            _pipelines -= 1
            if not _pipelines:
                warnings.warn = _original


def _warn(message: Any, category: Any = None, stacklevel: int = 1, *args: Any, **more: Any) -> None:
    texts = _texts.get()
    if texts is None:
        _original(message, category, stacklevel + 1, *args, **more)
    else:
        texts.append(str(message))
