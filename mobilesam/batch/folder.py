"""The folder of the results: its lock, and the folder of unfinished files.

A run writes files into a hidden folder, ``.mobilesam-`` and a random token, and renames them to their places. It
records the token before it creates the folder, and only folders with a recorded token are removed. After the removal, a
worker that is still running although its run was killed cannot finish a file.
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
    """Lock a folder, which is created if it does not exist. The lock ends with this process.

    Raises:
        InputError: another run uses the folder, or it cannot be written.
    """
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"Another run is writing into {folder}. Wait until it has finished, or choose another folder with --out."
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
    """Yield a new folder for the unfinished files of a run that allows other runs, and remove it at the end.

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
    """Return a random token, which nobody can guess."""
    return secrets.token_hex(16)


def is_token(value: Any) -> TypeGuard[str]:
    """Return whether a value has the form of :func:`new_token`, so that it cannot lead to another folder."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def unfinished(folder: Path, token: str) -> Path:
    """Return the folder of the unfinished files of a run."""
    return folder / f".mobilesam-{token}"


def remove_unfinished(folder: Path, token: str) -> None:
    """Remove the unfinished files of a run, if there are any; the next run removes what cannot be removed now."""
    path = unfinished(folder, token)
    removed = path.with_suffix(".removed")
    shutil.rmtree(removed, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rename(path, removed)  # atomic, even while workers write into it  # noqa: PTH104
    for each in (removed, path):
        shutil.rmtree(each, ignore_errors=True)
    for leftover in (finished_journal(folder, token), Path(f"{finished_journal(folder, token)}-journal")):
        with contextlib.suppress(OSError):
            leftover.unlink()


def finished_journal(folder: Path, token: str) -> Path:
    """Return the path of the rewritten journal that replaces the one of a run at its end."""
    return unfinished(folder, token).with_suffix(".sqlite")


def _unwritable(folder: Path, error: OSError) -> InputError:
    actual = f"{folder} ({error.strerror})"
    return InputError(sentence("output folder", "be writable", actual, "choose another one with --out"))
