"""Everything mode for visitors: one run at a time each, in one queue, to be cancelled at any time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mobilesam.arrays import UInt8Array
from mobilesam.automatic import SamAutomaticMaskGenerator
from mobilesam.automatic.settings import MODES
from mobilesam.errors import InputError, unknown_name
from mobilesam.masks.records import MaskRecord
from mobilesam.model import Embedding, MaskModel, Wrapped
from mobilesam.visualize import palette
from mobilesam.webui import wire
from mobilesam.webui.service import Service
from mobilesam.webui.session import Session
from mobilesam.webui.workers import Job

_WORDS = {
    "exact": ("Exact", "Asks at 32 x 32 points, as SAM does"),
    "balanced": ("Balanced", "Leaves out points that a good mask covers already"),
    "fast": ("Fast", "Asks at few points; small objects may be missed"),
}
OFFERED_MODES = {name: _WORDS.get(name, (name, "")) for name in MODES}


@dataclass(frozen=True)
class Found:
    """A visitor's state with the segments that were found; partial if the run was cancelled."""

    session: Session
    partial: bool
    ms: float


class _Run(NamedTuple):
    job: Job[Found]
    cancelled: threading.Event


class Everything:
    """Runs everything mode for the visitors of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def start(
        self, token: str, mode: object, on_progress: Callable[[int, int, int], object], image_key: object = None
    ) -> Job[Found]:
        """Put a run into the queue; an earlier one of the same visitor is cancelled, unless the queue is full.

        Args:
            on_progress: called with points done, points in all, and masks so far.
            image_key: see ``Service.session``.

        Raises:
            InputError: there is no such mode, or no image.
            GoneError, BusyError: as ``Service.open``.
        """
        if not isinstance(mode, str) or mode not in OFFERED_MODES:
            raise InputError(unknown_name("mode", mode, OFFERED_MODES))
        service = self._service
        asked = service.session(token, image_key)
        service.image(asked)
        number, cancelled = next(self._numbers), threading.Event()

        def work() -> Found:
            start = time.perf_counter()
            image = service.image(asked)
            model = _Encoded(service.models.get(asked.model), service.embedding_here(asked))
            generator = SamAutomaticMaskGenerator(model, output_mode="uncompressed_rle", mode=mode)
            records = generator.generate(image, progress=on_progress, cancel=cancelled)
            segments = tuple(map(_compact, records))

            def take(state: Session) -> Session:
                """Keep the segments, unless the picture is another or a later run has ended before."""
                if state.image != asked.image or state.run > number:
                    return state
                return replace(state, segments=segments, run=number)

            service.visitors.change(token, take)
            session = replace(asked, segments=segments, run=number)
            return Found(session, records.partial, 1000 * (time.perf_counter() - start))

        job = service.encoders.submit(work)
        with self._lock:
            earlier = self._runs.get(token)
            self._runs[token] = _Run(job, cancelled)
        if earlier is not None:
            earlier.cancelled.set()
        job.future.add_done_callback(lambda _: self._forget(token, job))
        return job

    def cancel(self, token: str, job: Job[Found] | None = None) -> None:
        """Let a visitor's run end early, with what it has found; if a job is given, only that run."""
        with self._lock:
            run = self._runs.get(token)
        if run is not None and job in (None, run.job):
            run.cancelled.set()

    def _forget(self, token: str, job: Job[Found]) -> None:
        with self._lock:
            if token in self._runs and self._runs[token].job is job:
                del self._runs[token]

    def close(self) -> None:
        """Cancel all runs."""
        for token in list(self._runs):
            self.cancel(token)


def found_view(found: Found) -> dict[str, Any]:
    """Return the segments as the page lists and paints them."""
    image, segments = found.session.image, found.session.segments
    assert image is not None, "segments belong to a picture"
    pixels = image.hw[0] * image.hw[1]
    views = [
        {
            "rle": wire.shown_segment(record["segmentation"]),
            "area": record["area"],
            "share": record["area"] / pixels,
            "predicted_iou": round(record["predicted_iou"], 4),
            "color": color,
        }
        for record, color in zip(segments, palette(len(segments)).tolist(), strict=True)
    ]
    return {"segments": views, "partial": found.partial, "ms": round(found.ms, 1), "run": found.session.run}


def _compact(record: MaskRecord) -> MaskRecord:
    """Return a record whose run lengths are an array, which takes a ninth of the memory of a list."""
    segmentation = record["segmentation"]
    counts = np.array(segmentation["counts"], np.int32)
    return {**record, "segmentation": {"size": segmentation["size"], "counts": counts}}


class _Encoded(Wrapped):
    """A model that has encoded one picture already, and does not do it again."""

    def __init__(self, model: MaskModel, embedding: Embedding) -> None:
        super().__init__(model)
        self._embedding = embedding

    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        assert image.shape[:2] == self._embedding.original_hw, "no crops are asked for here"
        return self._embedding
