"""Where bytes are: files by their paths, and objects by URLs such as ``s3://bucket/photos``, through fsspec.

A place is a Path, or a str that is a URL. Object storage writes an object completely or not at all, and so do the
functions here for files. They raise InputError, with a sentence that names the place.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mobilesam import files
from mobilesam.errors import InputError, MissingDependencyError, MobileSamError, missing_dependency, sentence

Place = Path | str

_PAGE = 1000  # names that S3 lists at once
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified")


class Stored(NamedTuple):
    """A file below a folder: its name relative to the folder, with slashes, and a text that changes with its bytes."""

    name: str
    version: str


def is_url(name: object) -> bool:
    """Return whether a name is a URL, such as ``s3://bucket/cat.jpg``; ``C:\\cat.jpg`` is not."""
    return isinstance(name, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name) is not None


def place(name: str | os.PathLike[str]) -> Place:
    """Return the place of a name: a URL without a slash at its end, or a path.

    Raises:
        InputError: a URL has nothing after its scheme.
    """
    if not is_url(name):
        return Path(name)
    url = str(name).rstrip("/")
    if url.endswith(":"):
        raise InputError(sentence("URL", "have a bucket", repr(name), "write for example s3://bucket/photos"))
    return url


def join(folder: Place, name: str) -> Place:
    """Return the place of a name, with slashes, in a folder."""
    return folder / name if isinstance(folder, Path) else f"{folder}/{name}"


def exists(where: Place) -> bool:
    """Return whether there is a file; of a URL, not whether it is a folder."""
    if isinstance(where, Path):
        return files.exists(where)
    with explained(where, "read"):
        system, path = _system(where)
        try:
            return bool(system.info(path)["type"] == "file")
        except FileNotFoundError:
            return False


def version(where: Place) -> str:
    """Return the size and the time or digest of a file, which tell versions of it apart; "" if it cannot be read."""
    if isinstance(where, Path):
        try:
            status = where.stat()
        except (OSError, ValueError):
            return ""
        return f"{status.st_size} {status.st_mtime_ns}"
    with contextlib.suppress(InputError), explained(where, "read"):
        system, path = _system(where)
        return _version(system.info(path))
    return ""


def read(where: Place, limit: int) -> bytes:
    """Return the content of a file of at most ``limit`` bytes.

    Raises:
        InputError: there is no such file, it is larger, or it cannot be read.
    """
    with explained(where, "read"):
        if isinstance(where, Path):
            return files.read_bytes(where, limit)
        system, path = _system(where)
        with system.open(path, "rb", block_size=2**20, cache_type="none") as file:
            return files.read_stream(file, limit)


@contextlib.contextmanager
def opened(where: Place, block: int = 2**17) -> Iterator[BinaryIO]:
    """Open a file for random reads; each request for a part of an object fetches at least ``block`` bytes.

    Errors within the context are not those of this function.
    """
    with contextlib.ExitStack() as stack:
        with explained(where, "read"):
            if isinstance(where, Path):
                file: Any = stack.enter_context(files.open_file(where))
            else:
                system, path = _system(where)
                file = stack.enter_context(system.open(path, "rb", block_size=block, cache_type="readahead"))
        yield file


def write(where: Place, content: bytes) -> None:
    """Write a file, completely or not at all; missing folders are created."""
    with explained(where, "written"):
        if isinstance(where, Path):
            files.write_bytes(where, content)
        else:
            system, path = _system(where)
            system.pipe_file(path, content)


def upload(file: Path, where: Place) -> None:
    """Write a file that is a copy of another one, completely or not at all."""
    with explained(where, "written"):
        if isinstance(where, Path):
            with files.atomic_path(where) as temporary:
                shutil.copyfile(file, temporary)
        else:
            system, path = _system(where)
            system.put_file(str(file), path)


def remove(where: Place) -> None:
    """Remove a file, if there is one."""
    with explained(where, "removed"), contextlib.suppress(FileNotFoundError):
        if isinstance(where, Path):
            where.unlink()
        else:
            system, path = _system(where)
            system.rm_file(path)


def walk(folder: Place, start: str = "") -> Iterator[Stored]:
    """Yield the files below a folder, those of one folder in the order of their names; none if there is no folder.

    S3 lists a page of names at a time, all in one order. Of other storage, the names of one folder are in memory.

    Args:
        start: the beginning of all names, which limits what is listed.

    Raises:
        InputError: the storage cannot be listed, for example because there is no such bucket.
    """
    entries: Iterator[Stored] = _files(folder) if isinstance(folder, Path) else _objects(folder, start)
    while True:
        with explained(folder, "listed"):
            entry = next(entries, None)
        if entry is None:
            return
        if entry.name.startswith(start):
            yield entry


def _files(folder: Path) -> Iterator[Stored]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            yield Stored(path.relative_to(folder).as_posix(), version(path))


def _objects(folder: str, beginning: str) -> Iterator[Stored]:
    system, path = _system(folder)
    if hasattr(system, "call_s3"):  # s3fs's own functions hold all names in memory
        bucket, key, _ = system.split_path(path)
        above = f"{key}/" if key else ""
        options = {"Bucket": bucket, "Prefix": above + beginning, "MaxKeys": _PAGE}
        while True:
            page = system.call_s3("list_objects_v2", **options)
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):
                    yield Stored(entry["Key"].removeprefix(above), _version(entry))
            if not page.get("IsTruncated"):
                return
            options["ContinuationToken"] = page["NextContinuationToken"]
    above = path.rstrip("/") + "/"
    for _, _, entries in system.walk(path, detail=True):
        for _, entry in sorted(entries.items()):
            if entry["name"].startswith(above):  # some storage has objects that stand for folders
                yield Stored(entry["name"].removeprefix(above), _version(entry))


def _version(entry: dict[str, Any]) -> str:
    known = next((str(entry[key]) for key in _VERSIONS if entry.get(key)), "")
    return f"{entry.get('size', entry.get('Size', 0))} {known}"


def _system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it."""
    scheme = url.partition("://")[0]
    try:
        fsspec = importlib.import_module("fsspec")
        system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        if package := _PACKAGES.get(scheme):
            text = f"{scheme}:// needs {package}, which is not installed; run: pip install fsspec {package}"
            raise MissingDependencyError(text) from error
        package = "s3fs" if scheme.startswith("s3") else "fsspec"
        raise missing_dependency(package, "storage", f"{scheme}://") from error
    except ValueError as error:
        if "rotocol" not in str(error):
            raise
        actual, remedy = repr(url), "use for example s3://, gs:// or az://, or a path"
        raise InputError(sentence("URL", "begin with the name of a known storage", actual, remedy)) from error
    return system, path


@contextlib.contextmanager
def explained(where: Place, action: str) -> Iterator[None]:
    """Raise InputError in place of what a storage raises, which may be any exception; its cause is an OSError.

    Args:
        where: names what is used, in the message.
        action: what is done with it, such as "read".
    """
    try:
        yield
    except MobileSamError:
        raise
    except Exception as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        if isinstance(error, FileNotFoundError) and reason in str(where):  # the path alone
            reason = "there is no such object"
        cause = error if isinstance(error, OSError) else OSError(reason)
        text = f"{where} cannot be {action} ({reason[:100]}). {_remedy(error)}"
        raise InputError(text) from cause


def _remedy(error: Exception) -> str:
    if "Credentials" in type(error).__name__:
        return "Give the credentials of the storage, for example in environment variables."
    if isinstance(error, PermissionError):
        return "Check the rights of your account, or choose another place."
    return "Check the name." if isinstance(error, FileNotFoundError) else "Check the name and the connection."
