"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mobilesam.errors import InputError, sentence

PARTIAL = ".partial"  # before the suffix of a file that is being written


@contextlib.contextmanager
def atomic_path(target: Path, *, force: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; rename it to ``target`` on success, delete it on any failure.

    The temporary name keeps the suffix of ``target``, because many writers choose their format by it. Missing parent
    folders are made.

    Raises:
        InputError: ``target`` exists and ``force`` is false, or its folder cannot be written.
    """
    refuse_existing(target, force=force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        suffix = PARTIAL + target.suffix
        handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}.", suffix=suffix, dir=target.parent)
    except OSError as error:
        raise InputError(_unwritable(target, error)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise InputError(_unwritable(target, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes, *, force: bool = True) -> None:
    """Write ``content`` to ``target`` atomically; see :func:`atomic_path`."""
    with atomic_path(target, force=force) as temporary:
        temporary.write_bytes(content)


def remove_partial(folder: Path) -> None:
    """Remove what a killed process had not finished writing in a folder, if there is one."""
    for path in folder.glob(f".*{PARTIAL}*"):
        path.unlink(missing_ok=True)


def refuse_existing(target: Path, *, force: bool) -> None:
    """Raise InputError if ``target`` exists and ``force`` is false."""
    if target.exists() and not force:
        raise InputError(
            sentence("output file", "not exist yet", target, "choose another --out, or overwrite it with --force")
        )


def _unwritable(target: Path, error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    return sentence("output folder", "be writable", f"{target.parent} ({reason})", "choose another one with --out")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
