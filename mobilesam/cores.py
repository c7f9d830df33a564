"""The processor: the cores that this process may use, and its instruction sets."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Of x86, then of ARM, by their names in Linux.
INSTRUCTIONS = (
    *("avx2", "fma", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "sve", "i8mm", "bf16"),
)


def usable_cores() -> int:
    """Return how many CPU cores this process may use, at least 1, with respect to its CPU affinity."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def instructions() -> list[str] | None:
    """Return the instruction sets that decide the speed of matrix products, or None if they are unknown."""
    flags = (cpu_property("flags") or cpu_property("Features") or "").split()
    return [name for name in INSTRUCTIONS if name in flags] if flags else None


def cpu_property(key: str) -> str | None:
    """Return a property of the first core from Linux, or None."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return None
