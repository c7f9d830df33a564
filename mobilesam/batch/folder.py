"""The folder of a run's results: one run at a time, and files that are not finished yet, which no other run touches.

Unfinished files lie in a hidden folder of the run's own, ``.mobilesam-`` and a random token, until they are renamed to
their places. The run records the token before it makes that folder, so that only such folders are ever removed. Once it
is removed, a worker that outlived a killed run cannot finish a file any more.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from filelock import FileLock, Timeout

from mobilesam.errors import InputError, sentence

_LOCK = ".mobilesam.lock"


@contextlib.contextmanager
def one_run(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if absent; if this process is killed, the system lets them in.

    Raises:
        InputError: another run is at work in the folder, or it cannot be written.
    """
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"Another run is writing into {folder}. Wait until it has ended, or choose another folder with --out."
        ) from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows cannot remove an open file; FileLock removes it on release
            (folder / _LOCK).unlink()
        lock.release()


@contextlib.contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder for unfinished files of a run that others may run beside, and remove it in the end.

    Raises:
        InputError: the folder cannot be written.
    """
    token = new_token()
    path = unfinished(folder, token).absolute()
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield path
    finally:
        remove_unfinished(folder, token)


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_hex(16)


def is_token(value: Any) -> TypeGuard[str]:
    """Return whether a value is a token as :func:`new_token` makes it, which names a folder of a run and no other."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def unfinished(folder: Path, token: str) -> Path:
    """Return the folder of the unfinished files of a run."""
    return folder / f".mobilesam-{token}"


def remove_unfinished(folder: Path, token: str) -> None:
    """Remove the unfinished files of a run, if there are any; what cannot be removed now is left to the next run."""
    path = unfinished(folder, token)
    removed = path.with_suffix(".removed")
    shutil.rmtree(removed, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rename(path, removed)  # at one stroke, however many workers are still writing into it  # noqa: PTH104
    for each in (removed, path):
        shutil.rmtree(each, ignore_errors=True)
    for leftover in (finished_journal(folder, token), Path(f"{finished_journal(folder, token)}-journal")):
        with contextlib.suppress(OSError):
            leftover.unlink()


def finished_journal(folder: Path, token: str) -> Path:
    """Return where a run writes the journal that replaces its own in the end."""
    return unfinished(folder, token).with_suffix(".sqlite")


def _unwritable(folder: Path, error: OSError) -> InputError:
    actual = f"{folder} ({error.strerror})"
    return InputError(sentence("output folder", "be writable", actual, "choose another one with --out"))
