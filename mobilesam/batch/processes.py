"""Worker processes, each with a model and a pipeline of its own.

A worker that is killed, as for want of memory, is replaced. What it had at hand is tried again, one image at a time;
the one at which a worker then ends once more is a bad image.
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

from mobilesam.batch.pipeline import AHEAD, Nothing, run_pipeline, take_from
from mobilesam.batch.tasks import Outcome, Task, Work
from mobilesam.errors import InputError, MobileSamError, is_out_of_memory

MakeWork = Callable[[], Work]

_CREDIT = 2 * AHEAD + 2  # tasks that a worker has at hand, so that it never waits for one
_READY = "ready"

_log = logging.getLogger("mobilesam.batch")


def run_work(make_work: MakeWork, tasks: Sequence[Task], workers: int) -> Generator[Outcome]:
    """Yield the outcome of each task as it comes: from so many processes, or for one worker from this one."""
    if min(workers, len(tasks)) <= 1:
        return run_pipeline(make_work(), take_from(tasks))
    return run_in_processes(make_work, tasks, min(workers, len(tasks)))


def run_in_processes(make_work: MakeWork, tasks: Iterable[Task], count: int) -> Generator[Outcome]:
    """Yield the outcome of each task as it comes.

    Args:
        make_work: makes the work in each worker; it must pickle.

    Raises:
        MobileSamError: the work cannot be made, a file cannot be written, or a worker fails unexpectedly; its traceback
            is then logged at debug level.
    """
    waiting, suspects = iter(tasks), deque[Task]()
    workers: list[_Worker] = []
    try:
        for _ in range(count):
            with _interrupted_later():
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
                    if isinstance(error, MemoryError):  # the outcome does not fit into this process
                        worker.process.kill()
                    yield from worker.lost(suspects)
                    with _interrupted_later():
                        workers[place] = _Worker(make_work)
                    continue
                if outcome is not None:
                    yield outcome
    finally:
        for worker in workers:
            worker.end()


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """Hold back Ctrl-C while a process is started, and keep it from the new process, whose end this one decides.

    Without that, the new process would write a traceback when it is interrupted before its own code runs, as would this
    one when it is interrupted before it has told the new one what to run.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    is_main = threading.current_thread() is threading.main_thread()
    # A handler that Python did not install, shown as None, could not be restored.
    is_main = is_main and signal.getsignal(signal.SIGINT) is not None
    interrupts: list[int] = []
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number)) if is_main else None
    try:
        resource_tracker.ensure_running()  # it comes with the first process, and would let signals through again
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # the new process inherits that
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, before)
    if interrupts:
        signal.raise_signal(signal.SIGINT)


class _Failure(NamedTuple):
    """An error that nobody foresaw, in a worker."""

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
        with contextlib.suppress(ConnectionError):  # its end is noticed when it is asked for the outcome
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
        """Say what is bad, and put back what may not be."""
        self.process.join()
        self.connection.close()
        code = self.process.exitcode
        if not self.ready:
            what = f"A worker process exited while loading the model (code {code})."
            raise InputError(f"{what} Use fewer --workers if memory is short.")
        if len(self.in_flight) == 1:
            (number,) = self.in_flight
            reason = f"the worker process exited at this image with code {code}, probably out of memory"
            yield Outcome(number, error=f"{reason}; use fewer workers, or a smaller image")
        else:
            suspects.extend(self.in_flight.values())

    def end(self) -> None:
        """End the worker at once; what it is writing is not yet under its name."""
        self.process.terminate()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, make_work: MakeWork) -> None:
    """Run in a worker: take tasks until the other end is closed, which it also is if that process is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end decides
    arrived: queue.SimpleQueue[Task] = queue.SimpleQueue()

    def receive() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                arrived.put(connection.recv())
        os._exit(0)  # at once: whoever goes on with the run must not find this worker still at it

    def take(may_wait: bool) -> Task | Nothing:
        try:
            return arrived.get(block=may_wait)
        except queue.Empty:
            return Nothing.YET

    try:
        work = make_work()
        connection.send(_READY)
        threading.Thread(target=receive, daemon=True).start()
        for outcome in run_pipeline(work, take):
            connection.send(outcome)
    except MobileSamError as error:
        with contextlib.suppress(ConnectionError):
            connection.send(error)
    except Exception as error:
        if not isinstance(error, ConnectionError) and not is_out_of_memory(error):
            reason = next(iter(str(error).splitlines()), "") or "no reason given"
            text = f"A worker process failed ({type(error).__name__}: {reason}). Run with --workers 1 to see where."
            with contextlib.suppress(ConnectionError):
                connection.send(_Failure(text, traceback.format_exc()))
            return
        os._exit(1)  # the other end has gone, or tries again what this worker had at hand
