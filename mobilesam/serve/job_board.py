"""Runs of everything mode of several replicas: the one that has a run publishes it, and any of them shows it."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from mobilesam.errors import MobileSamError
from mobilesam.serve.engine import Engine
from mobilesam.serve.failures import ExpiredError
from mobilesam.serve.jobs import ACTIVE, KEPT, MAX_BYTES, MAX_JOBS, Job, Jobs, owner_of
from mobilesam.serve.values import Client

_log = logging.getLogger("mobilesam.serve")
_LOST = 10.0  # seconds without news of an active run, after which its replica has ended
_TICK = 0.3  # seconds between two publications


class Published(NamedTuple):
    """view: as in a response. owner: see Job. size: bytes of the result. idle: seconds since a request for it."""

    view: dict[str, Any]
    owner: str
    size: int
    idle: float = 0.0


class Heard(NamedTuple):
    """What a run learns from the board: whether it is canceled, and the seconds since a client asked for it."""

    canceled: bool
    idle: float


@dataclass
class _Entry:
    job: Published
    published: float
    used: float = field(default_factory=time.monotonic)
    canceled: bool = False


class Board:
    """The runs of all replicas, by identifier, limited as those of one server are."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def publish(self, jobs: Sequence[Published]) -> list[Heard]:
        """Take the state of runs, and return what each of them learns."""
        now = time.monotonic()
        with self._lock:
            for job in jobs:
                entry = self._entries.setdefault(job.view["job_id"], _Entry(job, now))
                entry.job, entry.published, entry.used = job, now, max(entry.used, now - job.idle)
            known = [self._entries[job.view["job_id"]] for job in jobs]
            self._make_room(now)
        return [Heard(entry.canceled, now - entry.used) for entry in known]

    def view(self, job_id: str, owner: str, *, cancel: bool = False) -> dict[str, Any] | None:
        """Return a run as JSON values, or None if it is unknown or its replica has ended; ``cancel`` ends it."""
        now = time.monotonic()
        with self._lock:
            entry = self._entries.get(job_id)
            if entry is None or entry.job.owner != owner:
                return None
            entry.used = now
            entry.canceled |= cancel
            lost = entry.job.view["state"] in ACTIVE and now - entry.published > _LOST
            return None if lost else entry.job.view

    def _make_room(self, now: float) -> None:
        used = sum(entry.job.size for entry in self._entries.values())
        for job_id, entry in list(self._entries.items()):
            active = entry.job.view["state"] in ACTIVE and now - entry.published <= _LOST
            full = len(self._entries) > MAX_JOBS or used > MAX_BYTES
            if not active and (full or now - entry.used > KEPT):
                used -= entry.job.size
                del self._entries[job_id]


class RemoteBoard(Protocol):
    """The methods of a Board in another process; they raise MobileSamError if it cannot be reached."""

    def publish(self, jobs: Sequence[Published]) -> list[Heard]:
        """As that of Board."""

    def view(self, job_id: str, owner: str, *, cancel: bool = False) -> dict[str, Any] | None:
        """As that of Board."""


class SharedJobs(Jobs):
    """The runs of a replica, and through the board those of the others."""

    def __init__(self, engine: Engine, board: RemoteBoard) -> None:
        super().__init__(engine)
        self._board = board
        self._open: list[Job] = []  # whose end is not published
        self._closed = threading.Event()
        threading.Thread(target=self._publish_often, name="jobs", daemon=True).start()

    def view(self, job_id: str, client: Client) -> dict[str, Any]:
        return self._here_or_on_board(super().view, job_id, client, cancel=False)

    def cancel(self, job_id: str, client: Client) -> dict[str, Any]:
        return self._here_or_on_board(super().cancel, job_id, client, cancel=True)

    def close(self) -> None:
        super().close()
        self._closed.set()

    def _add(self, job: Job) -> None:
        """Publish a run before its identifier is in a response."""
        super()._add(job)
        try:
            self._board.publish([_published(job)])
        except MobileSamError:
            self._cancel(job)  # nobody learns its identifier
            raise
        with self._lock:
            self._open.append(job)

    def _here_or_on_board(
        self, here: Callable[[str, Client], dict[str, Any]], job_id: str, client: Client, *, cancel: bool
    ) -> dict[str, Any]:
        try:
            return here(job_id, client)
        except ExpiredError:
            view = self._board.view(job_id, owner_of(client), cancel=cancel)
            if view is None:
                raise
            return view

    def _publish_often(self) -> None:
        while not self._closed.wait(_TICK):
            with self._lock:
                jobs = list(self._open)
            if not jobs:
                continue
            published = [_published(job) for job in jobs]
            try:
                heard = self._board.publish(published)
            except Exception as error:  # Ray has many; any of them would end this thread, and with it all jobs
                _log.warning("the jobs cannot be published: %s", error)
                continue  # Ray starts another board; they are published again
            ended = {job.id for job, each in zip(jobs, published, strict=True) if each.view["state"] not in ACTIVE}
            for job, each in zip(jobs, heard, strict=True):
                job.used = max(job.used, time.monotonic() - each.idle)
                if each.canceled:
                    self._cancel(job)
            with self._lock:
                self._open = [job for job in self._open if job.id not in ended]


def _published(job: Job) -> Published:
    view = job.view()
    size = job.size if view["state"] not in ACTIVE else 0
    return Published(view, job.owner, size, time.monotonic() - job.used)
