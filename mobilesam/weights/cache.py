"""The files that this package keeps in the weights folder, and their removal."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from mobilesam.errors import WeightsError
from mobilesam.weights import download
from mobilesam.weights.store import Store


def fetched_files(store: Store) -> list[Path]:
    """Return the files of the manifest that are in the folder of a store, and unfinished downloads.

    A file under a name of the manifest that has other content belongs to the user and is left out.
    """
    listed = {path: file for entry in store.entries().values() for path, file in entry.files.items()}
    good = [path for path, f in listed.items() if path.is_file() and not download.problem(path, f.size, f.sha256)]
    unfinished = [path for file in listed.values() for path in (file.part, *temporaries(file.path))]
    return [path for path in (*good, *unfinished) if is_inside(path, store.folder)]


def temporaries(target: Path) -> Iterator[Path]:
    """Yield what an interrupted process left of :func:`mobilesam.files.atomic_path` beside a file."""
    name = f".{glob.escape(target.stem[:40])}.{'[0-9a-f]' * 16}.partial{target.suffix}"
    return target.parent.glob(name)


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path is a file in a folder, reached without links below the folder."""
    return path.is_file() and path.resolve() == folder.resolve() / path.relative_to(folder)


def remove(store: Store, paths: Iterable[Path]) -> int:
    """Remove files in the folder of a store, and folders that become empty; return the number of bytes freed.

    Raises:
        WeightsError: a file cannot be removed.
    """
    freed, folders = 0, set[Path]()
    with store.locked():
        for path in paths:
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:  # another process was faster
                continue
            except OSError as error:
                message = f"{path} cannot be removed ({error.strerror}). {freed:,} bytes were freed before."
                raise WeightsError(message) from error
            freed += size
            folders.update(parent for parent in path.parents if store.folder in parent.parents)
        for empty in sorted(folders, reverse=True):  # deepest first
            if [path.name for path in empty.iterdir()] == [".lock"]:
                (empty / ".lock").unlink()
            with contextlib.suppress(OSError):  # it contains other files
                empty.rmdir()
    return freed
