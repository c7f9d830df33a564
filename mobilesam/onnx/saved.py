"""Folders of files that are made once, and verified at each use by their digests."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mobilesam.cores import usable_cores
from mobilesam.errors import InputError

_DIGESTS = "sha256.json"
_UNFINISHED = ".partial"  # the suffix of a folder in which files are written


def are_whole(folder: Path, names: Sequence[str]) -> bool:
    """Return whether a folder has the files that :func:`save` wrote, unchanged."""
    try:
        known = json.loads((folder / _DIGESTS).read_bytes())
        return bool(known == _digests(folder, names))
    except (OSError, ValueError):
        return False


def save(folder: Path, names: Sequence[str], write: Callable[[Path], None]) -> bool:
    """Make the files of a folder, and return whether they could be saved.

    Another process that makes the same files is waited for.

    Args:
        write: writes the files into the folder that it is called with.
    """
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if are_whole(folder, names):
                return True
            for left in folder.glob(f"*{_UNFINISHED}"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(suffix=_UNFINISHED, dir=folder) as temporary:
                made = Path(temporary)
                write(made)
                (made / _DIGESTS).write_text(json.dumps(_digests(made, names)))
                for name in (*names, _DIGESTS):
                    (made / name).replace(folder / name)
    except (OSError, InputError):
        return False
    return True


def files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield the files in a folder that :func:`save` may have written, and unfinished ones."""
    for name in (*names, _DIGESTS):
        yield folder / name
        yield from folder.glob(f"*{_UNFINISHED}/{name}")


def file_digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(folder: Path, names: Sequence[str]) -> list[str]:
    with ThreadPoolExecutor(usable_cores()) as threads:
        return list(threads.map(file_digest, (folder / name for name in names)))
