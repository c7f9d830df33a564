"""Collecting the warnings of one step in its own thread, while the filters and handlers of all other code stay theirs.

``warnings.catch_warnings`` cannot do that: it changes what happens to the warnings of every thread.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


@contextlib.contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Yield a list that gets the text of each warning of this thread while this and :func:`divert_warnings` are
    entered.
    """
    texts: list[str] = []
    token = _collected.set(texts)
    try:
        yield texts
    finally:
        _collected.reset(token)


@contextlib.contextmanager
def divert_warnings() -> Iterator[None]:
    """Have ``warnings.warn`` give what is said within :func:`collect_warnings` to it; all else goes where it went."""
    original = warnings.warn

    @functools.wraps(original)
    def warn(message: Any, category: Any = None, stacklevel: int = 1, source: Any = None, **more: Any) -> None:
        texts = _collected.get()
        if texts is None:
            original(message, category, stacklevel + 1, source, **more)
        else:
            texts.append(str(message))

    warnings.warn = warn
    try:
        yield
    finally:
        if warnings.warn is warn:  # else another run has begun meanwhile, and goes on with this one's
            warnings.warn = original
