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
    """Counts what is done, tells the caller, and knows when to stop.

    Attributes:
        total: prompts there are in all.
        done: prompts decoded.
        found: different masks so far, about.
        stopped: whether the run ended early.
    """

    def __init__(self, progress: Progress | None, cancel: Cancel | None, time_budget_s: float | None) -> None:
        for name, value in (("progress", progress), ("cancel", cancel)):
            known = isinstance(value, threading.Event) and name == "cancel"
            if not (value is None or known or callable(value)):
                remedy = "pass a function" + (" or a threading.Event" if name == "cancel" else "")
                raise InputError(sentence(name, "be callable", type(value).__name__, remedy))
        if time_budget_s is not None:
            check_number("time_budget_s", time_budget_s, 0)
        self._progress = progress
        self._canceled = cancel.is_set if isinstance(cancel, threading.Event) else cancel
        self._deadline = None if time_budget_s is None else time.monotonic() + time_budget_s
        self.total = self.done = self.found = 0
        self.stopped = False

    def must_stop(self) -> bool:
        """Tell whether the caller canceled or the time is up; from then on it stays so."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        self.stopped = self.stopped or late or (self._canceled is not None and bool(self._canceled()))
        return self.stopped

    def advance(self, prompts: int, found: int = 0) -> None:
        """Note prompts done and masks found, and call ``progress(done, total, found)``."""
        self.done += prompts
        self.found += found
        if self._progress:
            self._progress(self.done, self.total, self.found)
