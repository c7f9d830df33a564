"""Image files as they are read: once, with what tells later whether they have changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from mobilesam import files
from mobilesam.errors import InputError, sentence
from mobilesam.image.read import read_image

_MOST_BYTES = 2**31  # held in memory; a TIFF of one frame and as many pixels as are read, 16 bits each, takes less
_BLOCK = 2**20


class Fingerprint(NamedTuple):
    """What a file was when it was read: its size in bytes, time of modification, and the sha256 of its bytes."""

    size: int
    mtime_ns: int
    sha256: str


class ImageFile(NamedTuple):
    """The bytes of an image file, none of one too large to be held in memory, and its fingerprint."""

    content: bytes
    fingerprint: Fingerprint


def read_file(path: str) -> ImageFile:
    """Read an image file.

    Raises:
        InputError: it is missing, no regular file, too large, or cannot be read.
    """
    try:
        return _read(Path(path))
    except OSError as error:
        if isinstance(error, FileNotFoundError | IsADirectoryError):
            read_image(path)  # it says more about these
        actual = f"{path!r} ({error.strerror})"
        raise InputError(sentence("image", "be a readable file", actual, "check its path and permissions")) from error


def read_again(path: str, before: Fingerprint) -> Fingerprint:
    """Return the fingerprint of a file now; its bytes are read only if its size or time of modification differ.

    Raises:
        OSError: it cannot be read now.
        InputError: it is too large now.
    """
    status = files.check_regular(Path(path))
    if (status.st_size, status.st_mtime_ns) == (before.size, before.mtime_ns):
        return before
    return _read(Path(path)).fingerprint


def _read(path: Path) -> ImageFile:
    status = files.check_regular(path)
    # A later write changes the modification time or is included in the digest.
    if status.st_size > _MOST_BYTES:
        return ImageFile(b"", Fingerprint(status.st_size, status.st_mtime_ns, _digest_of_tiff(path)))
    content = files.read_bytes(path, _MOST_BYTES)
    digest = hashlib.sha256(content).hexdigest()
    return ImageFile(content, Fingerprint(len(content), status.st_mtime_ns, digest))


def _digest_of_tiff(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(2) not in (b"II", b"MM"):
            read_image(path)  # refuses it by its size, before all of it is read
        file.seek(0)
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
        return digest.hexdigest()
