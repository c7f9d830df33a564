"""The cores of the machine that this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return how many cores this process may use: at least 1, and fewer than the machine has where it is restricted.

    Python 3.13 counts them itself and follows ``-X cpu_count``.
    """
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
