"""Progress, cancellation and time budget of a long run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mobilesam.automatic.settings import check_number
from mobilesam.errors import InputError, sentence

Progress = Callable[[int, int, int], object]
Cancel = Callable[[], bool] | threading.Event


class Control:
    """Counts the work of a run, reports progress, and decides when the run stops.

    Attributes:
        total: number of prompts in all.
        done: number of prompts decoded.
        masks: approximate number of distinct masks so far.
        stopped: whether the run ended early.
    """

    def __init__(self, progress: Progress | None, cancel: Cancel | None, time_budget_s: float | None) -> None:
        if not (progress is None or callable(progress)):
            raise InputError(sentence("progress", "be callable", type(progress).__name__, "pass a function"))
        self._canceled = cancel.is_set if isinstance(cancel, threading.Event) else cancel
        if not (self._canceled is None or callable(self._canceled)):
            remedy = "pass a function or a threading.Event"
            raise InputError(sentence("cancel", "be callable", type(cancel).__name__, remedy))
        if time_budget_s is not None:
            check_number("time_budget_s", time_budget_s, 0)
        self._progress = progress
        self._deadline = None if time_budget_s is None else time.monotonic() + time_budget_s
        self.total = self.done = self.masks = 0
        self.stopped = False

    def must_stop(self) -> bool:
        """Return whether the run was canceled or its time is up; once true, it stays true."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        self.stopped = self.stopped or late or (self._canceled is not None and bool(self._canceled()))
        return self.stopped

    def advance(self, prompts: int, masks: int, skipped: int = 0) -> None:
        """Add to the counts, take ``skipped`` off the total, and call ``progress(done, total, masks)``."""
        self.done += prompts
        self.total -= skipped
        self.masks += masks
        if self._progress:
            self._progress(self.done, self.total, self.masks)
