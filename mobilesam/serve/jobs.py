"""Runs of everything mode in the background: started by one request, followed and ended by others."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from mobilesam.errors import MobileSamError
from mobilesam.serve.engine import Engine
from mobilesam.serve.failures import ExpiredError, explained
from mobilesam.serve.rendering import rendered
from mobilesam.serve.requests import EverythingRequest
from mobilesam.serve.values import Client, OpenImage
from mobilesam.serve.workers import Job as Queued
from mobilesam.serve.workers import StoppedError

MAX_JOBS = 256
MAX_BYTES = 100_000_000  # of all results
KEPT = 600.0  # seconds after the last request for a job
ABANDONED = 60.0  # seconds without a request after which a run is ended

QUEUED, RUNNING, DONE, FAILED, CANCELED = "queued", "running", "done", "failed", "canceled"
ACTIVE = (QUEUED, RUNNING)


def owner_of(client: Client) -> str:
    """Return the part of a client's name that stands for its key: it may follow a job from another address."""
    return client.name.partition("@")[0]


@dataclass(eq=False)
class Job:
    """A run of everything mode.

    owner: the key that started it; only its holders see it. done, total, candidates: the points done, all
    points, and the masks so far. result: as in the response. used: the time of the last request for it.
    """

    owner: str
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    done: int = 0
    total: int = 0
    candidates: int = 0
    partial: bool = False
    result: list[dict[str, Any]] | None = None
    error: MobileSamError | None = None
    size: int = 0
    used: float = field(default_factory=time.monotonic)
    canceled: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    queued: Queued[None] | None = None

    @property
    def state(self) -> str:
        """The state, one of "queued", "running", "done", "failed" and "canceled"."""
        queued = self.queued
        if self.ended.is_set():
            return FAILED if self.error else CANCELED if self.canceled.is_set() else DONE
        return QUEUED if queued is None or queued.position() else RUNNING

    def view(self) -> dict[str, Any]:
        """Return the job as JSON values; a canceled run has the masks so far."""
        view: dict[str, Any] = {"job_id": self.id, "state": self.state}
        view["progress"] = {"done": self.done, "total": self.total, "candidates": self.candidates}
        if view["state"] == QUEUED and (queued := self.queued) is not None:
            view["waiting"] = queued.position()
        if self.error is not None:
            view["error"] = str(self.error)
        if self.result is not None:
            view |= {"partial": self.partial, "masks": self.result}
        return view


class Jobs:
    """The runs of a server, limited in number, in bytes of results, and in age; the oldest that ended goes first."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, name: str, image: OpenImage, request: EverythingRequest, client: Client) -> dict[str, Any]:
        """Queue a run, and return its job as JSON values, with its identifier.

        Raises:
            BusyError: the queue is full.
        """
        job = Job(owner_of(client))

        def progress(done: int, total: int, candidates: int) -> None:
            job.done, job.total, job.candidates = done, total, candidates
            if time.monotonic() - job.used > ABANDONED:
                job.canceled.set()

        def work() -> None:
            if job.canceled.is_set() or time.monotonic() - job.used > ABANDONED:
                job.canceled.set()
                return
            records = self._engine.everything(name, image, request.settings, progress, job.canceled)
            job.partial = records.partial
            job.result = [rendered(record, request.masks) for record in records[: request.limit]]
            job.size = sum(len(str(each["segmentation"])) for each in job.result)

        job.queued = queued = self._engine.encoders.submit(work, client.name)
        queued.future.add_done_callback(lambda future: self._end(job, future))
        self._add(job)
        return job.view()

    def view(self, job_id: str, client: Client) -> dict[str, Any]:
        """Return the job with an identifier as JSON values.

        Raises:
            ExpiredError: it is unknown, or was dropped.
        """
        return self._get(job_id, client).view()

    def cancel(self, job_id: str, client: Client) -> dict[str, Any]:
        """End a run early; its job, which is returned, has the masks so far.

        Raises:
            ExpiredError: as :meth:`view`.
        """
        job = self._get(job_id, client)
        self._cancel(job)
        return job.view()

    def close(self) -> None:
        """End all runs."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            self._cancel(job)

    def _add(self, job: Job) -> None:
        with self._lock:
            self._jobs[job.id] = job
            self._make_room()

    def _get(self, job_id: str, client: Client) -> Job:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or owner_of(client) != job.owner:
                raise ExpiredError(f"The server has no job {job_id[:80]!r}. Start it again.")
            job.used = time.monotonic()
            return job

    def _cancel(self, job: Job) -> None:
        job.canceled.set()
        if (queued := job.queued) is not None:
            queued.future.cancel()

    def _end(self, job: Job, future: Future[None]) -> None:
        if future.cancelled():
            job.error = None if job.canceled.is_set() else StoppedError()
        elif error := future.exception():
            job.error = explained(error) if isinstance(error, Exception) else StoppedError()
        job.ended.set()
        job.queued = None  # it refers to this job

    def _make_room(self) -> None:
        now = time.monotonic()
        ended = [job for job in self._jobs.values() if job.ended.is_set()]
        used = sum(job.size for job in self._jobs.values())
        for job in ended:
            if now - job.used > KEPT or len(self._jobs) > MAX_JOBS or used > MAX_BYTES:
                used -= job.size
                del self._jobs[job.id]
