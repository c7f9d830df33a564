"""The few threads that run the model, and the queue before them.

Requests come in dozens of threads; a model that ran in all of them would start as many thread pools of its own. So
work is handed to as many threads as may work at once, in the order it came, and whoever waits can ask for its place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from mobilesam.errors import MobileSamError

Result = TypeVar("Result")


class BusyError(MobileSamError):
    """The queue is full."""


class StoppedError(MobileSamError):
    """The server ends, and begins nothing more."""


_STOPPED = "The server is stopping. Try again after it has restarted."


class Job(Generic[Result]):
    """Work that waits, runs or is done."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.future: Future[Result]

    def position(self) -> int:
        """Return the place in the queue, 1 for the next; 0 once it runs or is done."""
        return self._workers.position(self)

    def result(self) -> Result:
        """Wait for the result, or for what the work raised.

        Raises:
            StoppedError: the queue was dropped before it began.
        """
        try:
            return self.future.result()
        except CancelledError as error:
            raise StoppedError(_STOPPED) from error


class Workers:
    """``count`` threads with a queue of at most ``waiting`` jobs."""

    def __init__(self, count: int, waiting: int, name: str) -> None:
        self.waiting = waiting
        self._queue: list[Job[Any]] = []
        self._lock = threading.Lock()
        self._count = count
        self._running = 0
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    def submit(self, work: Callable[[], Result]) -> Job[Result]:
        """Put work into the queue.

        Raises:
            BusyError: the queue is full.
            StoppedError: it is closed.
        """
        job: Job[Result] = Job(self)
        with self._lock:
            if len(self._queue) >= self.waiting + self._count - self._running:
                raise BusyError(f"The server is busy: {len(self._queue)} requests are waiting. Try again in a moment.")
            try:
                job.future = self._pool.submit(self._run, job, work)
            except RuntimeError as error:
                raise StoppedError(_STOPPED) from error
            self._queue.append(job)
        job.future.add_done_callback(lambda _: self._forget(job))
        return job

    def run(self, work: Callable[[], Result]) -> Result:
        """Put work into the queue and wait for its result."""
        return self.submit(work).result()

    def position(self, job: Job[Any]) -> int:
        """Return a job's place in the queue, 1 for the next; 0 once it runs or is done."""
        with self._lock:
            return self._queue.index(job) + 1 if job in self._queue else 0

    def busy(self) -> int:
        """Return how many jobs run or wait."""
        with self._lock:
            return len(self._queue) + self._running

    def close(self, wait: bool = True) -> None:
        """Drop the queue and, if asked to, wait for what runs."""
        self._pool.shutdown(wait, cancel_futures=True)

    def _forget(self, job: Job[Any]) -> None:
        """Take a job out of the queue that was cancelled before it began."""
        with self._lock:
            if job in self._queue:
                self._queue.remove(job)

    def _run(self, job: Job[Any], work: Callable[[], Result]) -> Result:
        with self._lock:
            self._queue.remove(job)
            self._running += 1
        try:
            return work()
        finally:
            with self._lock:
                self._running -= 1
