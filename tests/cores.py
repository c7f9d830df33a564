"""The cores of the machine, shared between test processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_ALL = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def take_share(index: int, count: int) -> None:
    """Keep one of ``count`` processes on cores of its own, or on one core: threads of two would wait in turns."""
    if _ALL:
        os.sched_setaffinity(0, _ALL[index::count] or [_ALL[index % len(_ALL)]])


@contextlib.contextmanager
def on_all_cores() -> Iterator[None]:
    """Let the processes that are started meanwhile, such as servers and browsers, use all cores."""
    if not _ALL:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _ALL)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)
