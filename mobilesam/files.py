"""Reading of files with limits, and atomic writing.

Regular files are read up to a size limit. Sockets and devices are refused before they are opened, because reading them
may block forever. Pipes are refused too, unless the reader allows them, as for files that the user names
(``<(command)``, ``/dev/stdin``). Functions that read raise OSError (with ``strerror``) and ValueError; each format
reports them in its own message.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeGuard

from mobilesam.errors import InputError, sentence

MAX_TEXT_BYTES = 2**28  # of prompt files, lists and labels: a million objects take 100 MB
MAX_DATASET_BYTES = 2**31  # of the annotations of a dataset: the largest public ones have 1.2 GB
MAX_MODEL_BYTES = 2**32  # of a checkpoint: SAM's largest has 2.6 GB
LARGEST = 1e9  # of a coordinate, in pixels

# What code raises on damaged files and documents of an unexpected structure.
MALFORMED = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError),
    *(SyntaxError, TypeError, ValueError),
)

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_BLOCK = 2**20


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def check_regular(path: Path) -> os.stat_result:
    """Return the status of a file.

    Raises:
        OSError: there is no such file, its symbolic links form a loop, or it is a directory, a pipe, a socket or a
            device.
    """
    try:
        status = path.stat()
    except ValueError as error:  # a NUL character, or a character that the file system cannot encode
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
        raise OSError(errno.EINVAL, f"{kind}, not a regular file", str(path))
    return status


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading in binary mode; see :func:`check_regular` for the errors."""
    check_regular(path)
    return path.open("rb")


def is_pipe(path: Path) -> bool:
    """Return whether a path is a pipe, named or not, without opening it."""
    try:
        return path.is_fifo()
    except (OSError, ValueError):
        return False


def read_bytes(path: Path, limit: int, *, pipes: bool = False) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Args:
        pipes: whether a pipe is read too, to its end, which waits for the writer.

    Raises:
        OSError: see :func:`check_regular`; or the file is larger.
    """
    if pipes and is_pipe(path):
        with path.open("rb") as pipe:
            return read_stream(pipe, limit)
    size = check_regular(path).st_size
    if size > limit:
        sizes = [_megabytes(size), _megabytes(limit)]
        if sizes[0] == sizes[1]:
            sizes = [f"{size:,} bytes", f"{limit:,} bytes"]
        raise OSError(errno.EFBIG, f"{sizes[0]}, more than the {sizes[1]} that are read", str(path))
    with path.open("rb") as file:
        return read_stream(file, limit)


def read_stream(stream: _Readable, limit: int) -> bytes:
    """Return the content of a binary stream of at most ``limit`` bytes.

    Raises:
        OSError: the stream is larger.
        TypeError: the stream does not return bytes; the message is the type that it returns.
    """
    content = bytearray()
    while len(content) <= limit:
        block = stream.read(min(_BLOCK, limit + 1 - len(content)))
        if not isinstance(block, bytes):
            raise TypeError(type(block).__name__)
        if not block:
            return bytes(content)
        content += block
    raise OSError(errno.EFBIG, f"more than the {_megabytes(limit)} that are read")


def parse_json(text: str | bytes, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is not JSON (a JSONDecodeError), is nested too deeply, or has a number of too many digits.
    """
    try:
        return json.loads(text, object_pairs_hook=object_pairs_hook)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        if type(error) is not ValueError:  # a subclass, from json, Unicode or the hook
            raise
        raise ValueError(f"it holds a number of more than {sys.get_int_max_str_digits()} digits") from error


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number, not a bool, whose absolute value is below :data:`LARGEST`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def is_unicode(text: str) -> bool:
    """Return whether a text can be written to a file. JSON can contain half of a surrogate pair, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def exists(path: Path) -> bool:
    """Return whether a path exists; False if that cannot be determined."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises for some paths)


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` expanded if the user exists."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def real_path(path: Path) -> Path:
    """Return the path without symbolic links, or the path itself if its links form a loop."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


_unfinished: ContextVar[Path | None] = ContextVar("unfinished", default=None)


@contextlib.contextmanager
def atomic_path(target: Path, *, force: bool = True) -> Iterator[Path]:
    """Yield a temporary path; rename it to ``target`` on success, delete it on any failure.

    It is in the folder of ``target``, or in that of :func:`unfinished_in` if that is on the same file system. It has
    the suffix of ``target``, by which many writers choose their format. Missing parent folders are created.

    Raises:
        InputError: ``target`` exists and ``force`` is false, or its folder is not writable.
    """
    refuse_existing(target, force=force)
    name = f".{target.stem[:40]}.{secrets.token_hex(8)}.partial{target.suffix}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _folder_for(target) / name
        # Created here to get the permissions of a new file, whatever function writes it.
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
    """Make :func:`atomic_path` create its temporary files in a folder, in this thread, within this context.

    If the folder is removed, unfinished files cannot be renamed to their targets.

    Args:
        folder: an existing folder; targets on other file systems do not use it. None for the folder of each target.
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
    if not force and exists(target):
        remedy = "choose another one, or overwrite it with --force"
        raise InputError(sentence("output file", "not exist yet", target, remedy))


def _folder_for(target: Path) -> Path:
    """Return the folder of the temporary file; a file cannot be renamed to another file system."""
    folder = _unfinished.get()
    same = folder is not None and folder.stat().st_dev == target.parent.stat().st_dev
    return folder if folder is not None and same else target.parent


def _unwritable(target: Path, error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    return sentence("output folder", "be writable", f"{target.parent} ({reason})", "choose another folder")
