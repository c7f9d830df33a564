"""Graphs that ONNX Runtime has optimized, saved so that later processes open them faster and with less memory.

What the optimization gives depends on the version of ONNX Runtime and on the instructions of the processor, so the
files of each are in a folder of their own. The weights are beside the graph, from where they are mapped into memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from mobilesam.onnx import contract, saved
from mobilesam.onnx.sessions import optimize

_PREFIX = "optimized-"
_KEPT = 2  # folders of a checkpoint, the newest ones, so that upgrades do not fill the disk
_GRAPHS = [graph.file_name for graph in contract.GRAPHS]
_NAMES = [*_GRAPHS, *(f"{name}.data" for name in _GRAPHS)]


def find(folder: Path) -> list[Path]:
    """Return the optimized graphs that a folder has for this machine, or none.

    Args:
        folder: where the folders of optimized graphs are.

    Returns:
        Their paths in the order of :data:`mobilesam.onnx.contract.GRAPHS`.
    """
    own = _own(folder)
    return [own / name for name in _GRAPHS] if saved.are_whole(own, _NAMES) else []


def make(folder: Path, graphs: Sequence[Path | bytes]) -> list[Path]:
    """Optimize graphs, paths or contents, and return the result as :func:`find` does; none if it cannot be saved."""
    own = _own(folder)

    def write(made: Path) -> None:
        for name, graph in zip(_GRAPHS, graphs, strict=True):
            optimize(graph, made / name)

    if not saved.save(own, _NAMES, write):
        return []
    _remove_oldest(folder)
    return [own / name for name in _GRAPHS]


def saved_files(folder: Path) -> Iterator[Path]:
    """Yield the files that :func:`make` may have saved in a folder."""
    for each in sorted(folder.glob(f"{_PREFIX}*")):
        yield from saved.files(each, _NAMES)


def _remove_oldest(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another process does the same
        made = sorted(folder.glob(f"{_PREFIX}*"), key=lambda path: path.lstat().st_mtime_ns)
        for old in made[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _own(folder: Path) -> Path:
    """Return the folder for this version of ONNX Runtime and this processor."""
    import onnxruntime

    about = (onnxruntime.__version__, onnxruntime.get_build_info(), _processor())
    return folder / f"{_PREFIX}{hashlib.sha256(' '.join(about).encode()).hexdigest()[:16]}"


def _processor() -> str:
    """Return the kind of the processor, with its features where the system lists them."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return f"{platform.machine()} {os.environ.get('PROCESSOR_IDENTIFIER', '')}"
