"""Worker threads that run the model, and their queue.

Requests arrive in dozens of threads, and a model that ran in all of them would start a thread pool for each. So the
work is done in a few threads, and each job knows its place in the queue. Clients take turns: one that sends a hundred
requests does not delay the only request of another. The requests of a client are done in order of arrival.

Results and uploads are large, so a job and its exception are in no reference cycle: they are freed when the last
reference is gone, not when the garbage collector runs.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
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
    """Work that is queued, running or done. A queued job is canceled with ``future.cancel()``."""

    def __init__(self, workers: Workers, work: Callable[[], Result], client: str) -> None:
        self._workers, self.work, self.client = workers, work, client
        self.future: Future[Result] = Future()

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
        finally:
            del self  # from the traceback of an exception, which the future holds


class Workers:
    """``count`` threads with a queue of at most ``waiting`` jobs."""

    def __init__(self, count: int, waiting: int, name: str) -> None:
        self.waiting = waiting
        self._queues: OrderedDict[str, deque[Job[Any]]] = OrderedDict()  # by client; the next one's first
        self._lock = threading.Lock()
        self._count = count
        self._running = 0
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    def submit(self, work: Callable[[], Result], client: str = "") -> Job[Result]:
        """Put work of a client into the queue.

        Raises:
            BusyError: the queue is full.
            StoppedError: the workers are closed.
        """
        job = Job(self, work, client)
        with self._lock:
            if self._is_full():
                raise BusyError(f"The server is busy: {self._queued()} requests are waiting. Try again in a moment.")
            try:
                self._pool.submit(self._run_next)
            except RuntimeError as error:
                raise StoppedError from error
            self._queues.setdefault(client, deque()).append(job)
        queued = weakref.ref(job)  # the future keeps its callbacks
        job.future.add_done_callback(lambda _: self._remove(queued()))
        return job

    def run(self, work: Callable[[], Result], client: str = "") -> Result:
        """Put work into the queue and wait for its result."""
        return self.submit(work, client).result()

    def position(self, job: Job[Any]) -> int:
        """Return the place of a job in the queue, 1 for the next; 0 once it is running or done."""
        with self._lock:
            own = self._queues.get(job.client, ())
            if job not in own:
                return 0
            turn, clients = own.index(job), list(self._queues)
            earlier = clients.index(job.client)
            return (
                turn
                + 1
                + sum(
                    min(len(queue), turn + (place < earlier))
                    for place, queue in enumerate(self._queues.values())
                    if place != earlier
                )
            )

    @property
    def is_full(self) -> bool:
        """Whether no more jobs are accepted."""
        with self._lock:
            return self._is_full()

    def busy(self) -> int:
        """Return the number of jobs that are running or queued."""
        with self._lock:
            return self._queued() + self._running

    def close(self, wait: bool = True) -> None:
        """Cancel the queued jobs; with ``wait``, return when the running ones have ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            queued = [job for queue in self._queues.values() for job in queue]
        for job in queued:
            job.future.cancel()
        self._pool.shutdown(wait)

    def _is_full(self) -> bool:
        return self._queued() >= self.waiting + self._count - self._running

    def _queued(self) -> int:
        return sum(map(len, self._queues.values()))

    def _remove(self, job: Job[Any] | None) -> None:
        with self._lock:
            queue = None if job is None else self._queues.get(job.client)
            if job is not None and queue is not None and job in queue:
                queue.remove(job)
                if not queue:
                    del self._queues[job.client]

    def _run_next(self) -> None:
        """Run the oldest job of the client whose turn it is."""
        with self._lock:
            if not self._queues:
                return  # a job was canceled
            client, queue = next(iter(self._queues.items()))
            job = queue.popleft()
            self._queues.move_to_end(client)
            if not queue:
                del self._queues[client]
            if not job.future.set_running_or_notify_cancel():
                return
            self._running += 1
        try:
            result = job.work()
        except BaseException as error:
            self._ended()
            job.future.set_exception(error)
            del job  # from the traceback
        else:
            self._ended()
            job.future.set_result(result)

    def _ended(self) -> None:
        with self._lock:
            self._running -= 1
