"""Worker processes, each with its own model and pipeline.

A worker that is killed, for example when memory is short, is replaced. Its tasks are tried again one at a time; an
image at which the worker exits again is a bad image.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from mobilesam.batch.pipeline import AHEAD, NoTaskYet, run_pipeline, take_from
from mobilesam.batch.tasks import Outcome, Task, Work
from mobilesam.errors import InputError, MobileSamError, is_out_of_memory

MakeWork = Callable[[], Work]

_CREDIT = 2 * AHEAD + 2  # tasks in flight for each worker, so that it never waits for one
_READY = "ready"

_log = logging.getLogger("mobilesam.batch")


def run_work(make_work: MakeWork, tasks: Iterable[Task], workers: int) -> Generator[Outcome]:
    """Yield the outcome of each task as it comes, from worker processes, or from this process for one worker."""
    count = min(workers, len(tasks)) if isinstance(tasks, Sequence) else workers
    if count <= 1:
        return run_pipeline(make_work(), take_from(tasks))
    return run_in_processes(make_work, tasks, count)


def run_in_processes(make_work: MakeWork, tasks: Iterable[Task], count: int) -> Generator[Outcome]:
    """Yield the outcome of each task as it comes.

    Args:
        make_work: returns the work of a worker; must be picklable.

    Raises:
        MobileSamError: the work cannot be made, a file cannot be written, or a worker fails unexpectedly. The traceback
            of such a failure is logged at debug level.
    """
    waiting, suspects = iter(tasks), deque[Task]()
    workers: list[_Worker] = []
    try:
        for _ in range(count):
            with _interrupts_deferred():
                workers.append(_Worker(make_work))
        exhausted = False
        while True:
            for worker in workers:
                while worker.ready and not (exhausted and not suspects):
                    alone = bool(suspects)
                    if worker.in_flight and (alone or worker.alone or len(worker.in_flight) >= _CREDIT):
                        break
                    task = suspects.popleft() if alone else next(waiting, None)
                    if task is None:
                        exhausted = True
                        break
                    worker.give(task, alone=alone)
            if exhausted and not suspects and not any(worker.in_flight for worker in workers):
                return
            readable = wait([worker.connection for worker in workers])
            for place, worker in enumerate(workers):
                if worker.connection not in readable:
                    continue
                try:
                    outcome = worker.receive()
                except (EOFError, ConnectionError, MemoryError) as error:
                    if isinstance(error, MemoryError):  # the outcome does not fit into the memory of this process
                        worker.process.kill()
                    yield from worker.lost(suspects)
                    with _interrupts_deferred():
                        workers[place] = _Worker(make_work)
                    continue
                if outcome is not None:
                    yield outcome
    finally:
        for worker in workers:
            worker.end()


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Defer Ctrl-C while a process is started, and block it in the new process.

    Otherwise the new process writes a traceback if it is interrupted before its own code runs, or if this process is
    interrupted before it has sent the code to run.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # A handler that Python did not install is reported as None and could not be restored.
    defer = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not None
    interrupts: list[int] = []
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number)) if defer else None
    try:
        resource_tracker.ensure_running()  # started with the first process, it would unblock the signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # inherited by the new process
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if defer:
            signal.signal(signal.SIGINT, before)
    if interrupts:
        signal.raise_signal(signal.SIGINT)


class _Failure(NamedTuple):
    """An unexpected error in a worker."""

    sentence: str
    traceback: str


class _Worker:
    def __init__(self, make_work: MakeWork) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make_work), daemon=True)
        self.process.start()
        theirs.close()
        self.in_flight: dict[int, Task] = {}
        self.ready = False
        self.alone = False

    def give(self, task: Task, *, alone: bool) -> None:
        self.in_flight[task.number] = task
        self.alone = alone
        with contextlib.suppress(ConnectionError):  # receive() detects that the worker has exited
            self.connection.send(task)

    def receive(self) -> Outcome | None:
        message = self.connection.recv()
        if isinstance(message, _Failure):
            _log.debug("a worker failed\n%s", message.traceback)
            raise MobileSamError(message.sentence)
        if isinstance(message, Exception):
            raise message
        if message == _READY:
            self.ready = True
            return None
        assert isinstance(message, Outcome), "a worker sends nothing else"
        del self.in_flight[message.number]
        return message

    def lost(self, suspects: deque[Task]) -> Iterator[Outcome]:
        """Yield the outcome of the bad image, or add the tasks in flight to the suspects."""
        self.process.join()
        self.connection.close()
        code = self.process.exitcode or 0
        status = f"signal {-code}" if code < 0 else f"exit code {code}"
        if not self.ready:
            what = f"A worker process exited while loading the model ({status})."
            raise InputError(f"{what} Use fewer --workers if memory is short.")
        if len(self.in_flight) == 1:
            ((number, task),) = self.in_flight.items()
            what = f"The worker process exited while processing {task.source} ({status}, probably out of memory)."
            yield Outcome(number, error=f"{what} Use fewer workers or a smaller image.")
        else:
            suspects.extend(self.in_flight.values())

    def end(self) -> None:
        """Terminate the worker; the file that it is writing has not been renamed to its place."""
        self.process.terminate()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, make_work: MakeWork) -> None:
    """Run in a worker: process tasks until the connection is closed, as it also is when the other process is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process handles it
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()

    def receive() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                tasks.put(connection.recv())
        os._exit(0)  # at once, so that this worker does not write while the run is resumed

    def take(wait: bool) -> Task:
        try:
            return tasks.get(wait)
        except queue.Empty as error:
            raise NoTaskYet from error

    try:
        work = make_work()
        connection.send(_READY)
        threading.Thread(target=receive, daemon=True).start()
        for outcome in run_pipeline(work, take):
            connection.send(outcome)
    except MobileSamError as error:
        with contextlib.suppress(ConnectionError):
            connection.send(error)
    except Exception as error:  # the main process raises it again
        if isinstance(error, ConnectionError) or is_out_of_memory(error):
            os._exit(1)  # the other process has exited, or tries the tasks again
        reason = next(iter(str(error).splitlines()), "") or "no reason given"
        text = f"A worker process failed ({type(error).__name__}: {reason}). Run with --workers 1 to see where."
        with contextlib.suppress(ConnectionError):
            connection.send(_Failure(text, traceback.format_exc()))
