"""Collecting the warnings of one step in its own thread, while the filters and handlers of all other code stay theirs.

``warnings.catch_warnings`` cannot do that: it changes what happens to the warnings of every thread.

Only warnings of Python code are collected. Those of C code, such as NumPy's RuntimeWarning of a division by zero, do
not go through ``warnings.warn``: they are handled as the process's own filters say, and do not name the image.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)
_lock = threading.Lock()
_diverting = 0  # how many runs are at work
_original: Callable[..., None] = warnings.warn


@contextlib.contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Yield a list that gets the texts of this thread's warnings; :func:`divert_warnings` must be entered."""
    texts: list[str] = []
    token = _collected.set(texts)
    try:
        yield texts
    finally:
        _collected.reset(token)


@contextlib.contextmanager
def divert_warnings() -> Iterator[None]:
    """Have ``warnings.warn`` serve :func:`collect_warnings`; outside that, it does what it did."""
    global _diverting, _original
    with _lock:
        if not _diverting:
            _original, warnings.warn = warnings.warn, _warn
        _diverting += 1
    try:
        yield
    finally:
        with _lock:
            _diverting -= 1
            if not _diverting:
                warnings.warn = _original


def _warn(message: Any, category: Any = None, stacklevel: int = 1, *args: Any, **more: Any) -> None:
    texts = _collected.get()
    if texts is None:
        _original(message, category, stacklevel + 1, *args, **more)
    else:
        texts.append(str(message))
