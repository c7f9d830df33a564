"""Process trees and their memory, read from /proc on Linux."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from pathlib import Path
from typing import Self

_INTERVAL = 0.5  # seconds between two samples of the memory


def descendants(root: int) -> dict[int, bytes]:
    """Return the command lines of a process and its descendants by process id."""
    parents: dict[int, int] = {}
    names: dict[int, bytes] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with contextlib.suppress(OSError):  # the process has ended
                names[int(path.name)] = (path / "cmdline").read_bytes()
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])

    def is_below(pid: int) -> bool:
        while pid != root and pid in parents:
            pid = parents[pid]
        return pid == root

    return {pid: name for pid, name in names.items() if is_below(pid)}


def ray_actors(root: int) -> list[int]:
    """Return the ids of the descendants that are workers of Ray Data."""
    return [pid for pid, name in descendants(root).items() if name.startswith(b"ray::") and b"MapWorker" in name]


def memory(root: int) -> int:
    """Return the bytes of a process and its descendants; memory that they share is counted once."""
    total = 0
    for pid in descendants(root):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes, or None where the system does not report it."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: ru_maxrss would begin with the peak of the parent process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class MemoryOverTime:
    """Samples the memory of a process tree while it is entered."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.samples: list[tuple[float, int]] = []  # seconds since the start, bytes

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        start = time.perf_counter()
        while not self._ended.wait(_INTERVAL):
            if size := memory(self._root):
                self.samples.append((time.perf_counter() - start, size))
