"""Everything mode in the page and the endpoints: one run at a time for each session, in one queue."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, NamedTuple

from mobilesam.automatic.settings import MODES
from mobilesam.errors import InputError, unknown_name
from mobilesam.serve.workers import Job
from mobilesam.visualize import palette
from mobilesam.webui import view
from mobilesam.webui.masks import compact, least_region
from mobilesam.webui.service import Service
from mobilesam.webui.session import Session, open_image


class EverythingResult(NamedTuple):
    """A session with the segments of a run; partial if the run was canceled."""

    session: Session
    partial: bool
    ms: float


class _Run(NamedTuple):
    job: Job[EverythingResult]
    canceled: threading.Event


class Everything:
    """Runs everything mode for the sessions of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def start(
        self,
        token: str,
        mode: object,
        on_progress: Callable[[int, int, int], object],
        image_key: object = None,
        *,
        clean: bool = False,
    ) -> Job[EverythingResult]:
        """Queue a run, and cancel the earlier run of the session unless the queue is full.

        Args:
            token: of the session.
            mode: exact, balanced or fast.
            on_progress: called with the number of points done, of all points, and of masks so far.
            image_key: see ``Service.session``.
            clean: whether small holes are filled and specks removed.

        Raises:
            InputError: there is no such mode, or no image is open.
            SessionExpiredError, BusyError: as ``Service.open``.
        """
        if not isinstance(mode, str) or mode not in MODES:
            raise InputError(unknown_name("mode", mode, MODES))
        service = self._service
        session = service.session(token, image_key)
        service.image(session)
        number, canceled = next(self._numbers), threading.Event()

        def work() -> EverythingResult:
            start = time.perf_counter()
            shown = open_image(session)
            least = least_region(shown.hw) if clean else 0
            settings = {"mode": mode, "min_mask_region_area": least}
            records = service.everything(session.model, shown, settings, on_progress, canceled)
            segments = tuple(map(compact, records))

            def take(state: Session) -> Session:
                """Keep the segments, unless another image is open or a later run has ended before."""
                if state.image != session.image or state.run > number:
                    return state
                return replace(state, segments=segments, run=number)

            service.sessions.change(token, take)
            ms = 1000 * (time.perf_counter() - start)
            return EverythingResult(replace(session, segments=segments, run=number), records.partial, ms)

        job = service.encoders.submit(work, token)
        with self._lock:
            earlier = self._runs.get(token)
            self._runs[token] = _Run(job, canceled)
        if earlier is not None:
            earlier.canceled.set()
        job.future.add_done_callback(lambda future: self._forget(token, future))
        return job

    def cancel(self, token: str, job: Job[EverythingResult] | None = None) -> None:
        """End the run of a session early, with the segments so far; if a job is given, only that run."""
        with self._lock:
            run = self._runs.get(token)
        if run is not None and job in (None, run.job):
            run.canceled.set()

    def close(self) -> None:
        """Cancel all runs."""
        for token in list(self._runs):
            self.cancel(token)

    def _forget(self, token: str, future: Future[EverythingResult]) -> None:
        with self._lock:
            if token in self._runs and self._runs[token].job.future is future:
                del self._runs[token]


def everything_view(result: EverythingResult) -> dict[str, Any]:
    """Return the segments in the form that the page lists and paints."""
    height, width = open_image(result.session).hw
    segments = result.session.segments
    views = [
        {
            "rle": view.shown_segment(record["segmentation"]),
            "area": record["area"],
            "share": record["area"] / (height * width),
            "predicted_iou": round(record["predicted_iou"], 4),
            "color": color,
        }
        for record, color in zip(segments, palette(len(segments)).tolist(), strict=True)
    ]
    return {"segments": views, "partial": result.partial, "ms": round(result.ms, 1), "run": result.session.run}
