"""Worker threads that run the model, and their queue.

Requests arrive in dozens of threads, and a model that ran in all of them would start a thread pool for each. So the
work is done in a few threads in order of arrival, and each job knows its place in the queue.
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
    """The server is stopping and starts no more work."""

    def __init__(self) -> None:
        super().__init__("The server is stopping. Try again after it has restarted.")


class Job(Generic[Result]):
    """Work that is queued, running or done."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.future: Future[Result]

    def position(self) -> int:
        """Return the place in the queue, 1 for the next; 0 once the job is running or done."""
        return self._workers.position(self)

    def result(self) -> Result:
        """Wait for the result, or raise the exception of the work.

        Raises:
            StoppedError: the job was canceled before it started.
        """
        try:
            return self.future.result()
        except CancelledError as error:
            raise StoppedError from error


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
            StoppedError: the workers are closed.
        """
        job: Job[Result] = Job(self)
        with self._lock:
            if len(self._queue) >= self.waiting + self._count - self._running:
                raise BusyError(f"The server is busy: {len(self._queue)} requests are waiting. Try again in a moment.")
            try:
                job.future = self._pool.submit(self._run, job, work)
            except RuntimeError as error:
                raise StoppedError from error
            self._queue.append(job)
        job.future.add_done_callback(lambda _: self._dequeue(job))
        return job

    def run(self, work: Callable[[], Result]) -> Result:
        """Put work into the queue and wait for its result."""
        return self.submit(work).result()

    def position(self, job: Job[Any]) -> int:
        """Return the place of a job in the queue, 1 for the next; 0 once it is running or done."""
        with self._lock:
            return self._queue.index(job) + 1 if job in self._queue else 0

    def busy(self) -> int:
        """Return the number of jobs that are running or queued."""
        with self._lock:
            return len(self._queue) + self._running

    def close(self, wait: bool = True) -> None:
        """Cancel the queued jobs; with ``wait``, return when the running ones have ended."""
        self._pool.shutdown(wait, cancel_futures=True)

    def _dequeue(self, job: Job[Any], running: int = 0) -> None:
        with self._lock:
            self._running += running
            if job in self._queue:
                self._queue.remove(job)

    def _run(self, job: Job[Any], work: Callable[[], Result]) -> Result:
        self._dequeue(job, 1)
        try:
            return work()
        finally:
            self._dequeue(job, -1)
