"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from mobilesam import reading
from mobilesam.errors import InputError, sentence

_unfinished: ContextVar[Path | None] = ContextVar("unfinished", default=None)


@contextlib.contextmanager
def atomic_path(target: Path, *, force: bool = True) -> Iterator[Path]:
    """Yield a temporary path; rename it to ``target`` on success, delete it on any failure.

    It lies beside ``target``, or where :func:`unfinished_in` says if that is on the same file system. Its name keeps
    the suffix of ``target``, because many writers choose their format by it. Missing parent folders are made.

    Raises:
        InputError: ``target`` exists and ``force`` is false, or its folder cannot be written.
    """
    refuse_existing(target, force=force)
    name = f".{target.stem[:40]}.{secrets.token_hex(8)}.partial{target.suffix}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _folder_for(target) / name
        # Made here, so that it gets the permissions of a new file, whichever way it is written.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        raise InputError(_unwritable(target, error)) from error
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise InputError(_unwritable(target, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def unfinished_in(folder: Path | None) -> Iterator[None]:
    """Have :func:`atomic_path` keep unfinished files in a folder, in this thread, while this is entered.

    After the folder is removed, files that are still being written cannot be moved into place.

    Args:
        folder: it is not made; targets on other file systems have their unfinished files beside them. None for the
            default, beside each target.
    """
    token = _unfinished.set(folder)
    try:
        yield
    finally:
        _unfinished.reset(token)


def write_bytes(target: Path, content: bytes, *, force: bool = True) -> None:
    """Write ``content`` to ``target`` atomically; see :func:`atomic_path`."""
    with atomic_path(target, force=force) as temporary:
        temporary.write_bytes(content)


def refuse_existing(target: Path, *, force: bool) -> None:
    """Raise InputError if ``target`` exists and ``force`` is false."""
    if not force and reading.exists(target):
        raise InputError(
            sentence("output file", "not exist yet", target, "choose another --out, or overwrite it with --force")
        )


def _folder_for(target: Path) -> Path:
    """Return the folder of the unfinished file: nothing can be renamed from one file system to another."""
    folder = _unfinished.get()
    same = folder is not None and folder.stat().st_dev == target.parent.stat().st_dev
    return folder if folder is not None and same else target.parent


def _unwritable(target: Path, error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    return sentence("output folder", "be writable", f"{target.parent} ({reason})", "choose another one with --out")
