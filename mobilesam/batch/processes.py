"""Worker processes, each with a model and a pipeline of its own.

A worker that is killed, as for want of memory, is replaced. What it had at hand is tried again, one picture at a time;
the one at which a worker then ends once more is a bad picture.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait

from mobilesam.batch.pipeline import AHEAD, Nothing, run_pipeline, take_from
from mobilesam.batch.tasks import Outcome, Task, Work
from mobilesam.errors import InputError, MobileSamError, sentence

MakeWork = Callable[[], Work]

_CREDIT = 2 * AHEAD + 2  # tasks that a worker has at hand, so that it never waits for one
_PATIENCE = 5  # seconds for workers to finish the picture at which they are when the run is stopped
_READY = "ready"


def run_work(make_work: MakeWork, tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    """Yield the outcome of each task as it comes: from so many processes, or for one worker from this one."""
    if min(workers, len(tasks)) <= 1:
        return run_pipeline(make_work(), take_from(tasks))
    return run_in_processes(make_work, tasks, min(workers, len(tasks)))


def run_in_processes(make_work: MakeWork, tasks: Iterable[Task], count: int) -> Iterator[Outcome]:
    """Yield the outcome of each task as it comes.

    Args:
        make_work: makes the work in each worker; it must pickle.

    Raises:
        MobileSamError: the work cannot be made, or a file not be written.
    """
    waiting, suspects = iter(tasks), deque[Task]()
    workers = [_Worker(make_work) for _ in range(count)]
    try:
        exhausted = False
        while True:
            for worker in workers:
                while worker.ready and not (exhausted and not suspects):
                    alone = bool(suspects)
                    if worker.at_hand and (alone or worker.alone or len(worker.at_hand) >= _CREDIT):
                        break
                    task = suspects.popleft() if alone else next(waiting, None)
                    if task is None:
                        exhausted = True
                        break
                    worker.give(task, alone=alone)
            if exhausted and not suspects and not any(worker.at_hand for worker in workers):
                return
            readable = wait([worker.connection for worker in workers])
            for place, worker in enumerate(workers):
                if worker.connection not in readable:
                    continue
                try:
                    outcome = worker.receive()
                except (EOFError, ConnectionError):
                    yield from worker.lost(suspects)
                    workers[place] = _Worker(make_work)
                    continue
                if outcome is not None:
                    yield outcome
    finally:
        for worker in workers:
            worker.connection.close()
        deadline = time.monotonic() + _PATIENCE
        for worker in workers:
            worker.end(deadline)


class _Worker:
    def __init__(self, make_work: MakeWork) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make_work), daemon=True)
        self.process.start()
        theirs.close()
        self.at_hand: dict[int, Task] = {}
        self.ready = False
        self.alone = False

    def give(self, task: Task, *, alone: bool) -> None:
        self.at_hand[task.number] = task
        self.alone = alone
        with contextlib.suppress(ConnectionError):  # its end is noticed when it is asked for the outcome
            self.connection.send(task)

    def receive(self) -> Outcome | None:
        message = self.connection.recv()
        if isinstance(message, Exception):
            raise message
        if message == _READY:
            self.ready = True
            return None
        assert isinstance(message, Outcome), "a worker sends nothing else"
        del self.at_hand[message.number]
        return message

    def lost(self, suspects: deque[Task]) -> Iterator[Outcome]:
        """Say what is bad, and put back what may not be."""
        self.process.join()
        code = self.process.exitcode
        if not self.ready:
            remedy = "use fewer --workers if memory is short"
            raise InputError(sentence("a worker", "come up", f"one that ended with code {code}", remedy))
        if len(self.at_hand) == 1:
            (number,) = self.at_hand
            yield Outcome(number, error=f"a worker ended with code {code} at this picture, perhaps for want of memory")
        else:
            suspects.extend(self.at_hand.values())
        self.connection.close()

    def end(self, deadline: float) -> None:
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()


def _serve(connection: Connection, make_work: MakeWork) -> None:
    """Run in a worker: take tasks until the other end is closed, which it also is if that process is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end decides
    arrived: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    ended = threading.Event()

    def receive() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                arrived.put(connection.recv())
        ended.set()
        arrived.put(None)

    def take(may_wait: bool) -> Task | Nothing:
        try:
            task = arrived.get(block=may_wait)
        except queue.Empty:
            return Nothing.YET
        return Nothing.MORE if task is None or ended.is_set() else task

    try:
        work = make_work()
        connection.send(_READY)
        threading.Thread(target=receive, daemon=True).start()
        for outcome in run_pipeline(work, take):
            connection.send(outcome)
    except MobileSamError as error:
        with contextlib.suppress(ConnectionError):
            connection.send(error)
    except ConnectionError:
        pass  # nobody waits for the outcome any more
