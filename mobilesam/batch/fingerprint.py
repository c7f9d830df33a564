"""Read image files, with fingerprints that show later whether a file has changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from mobilesam import files
from mobilesam.errors import InputError, sentence
from mobilesam.image.read import read_image

_MOST_BYTES = 2**31  # held in memory; more than a TIFF of one frame of 16 bits with the most pixels that are read
_BLOCK = 2**20


class Fingerprint(NamedTuple):
    """The size of a file in bytes, its time of modification, and the sha256 of its bytes."""

    size: int
    mtime_ns: int
    sha256: str


class ImageFile(NamedTuple):
    """The bytes of an image file, or no bytes if it is too large for memory, and its fingerprint."""

    content: bytes
    fingerprint: Fingerprint


def read_file(path: str) -> ImageFile:
    """Read an image file.

    Raises:
        InputError: the file is missing, not regular, too large, or cannot be read.
    """
    try:
        return _read(Path(path))
    except OSError as error:
        if isinstance(error, FileNotFoundError | IsADirectoryError):
            read_image(path)  # raises a more specific error
        actual = f"{path!r} ({error.strerror})"
        raise InputError(sentence("image", "be a readable file", actual, "check its path and permissions")) from error


def read_again(path: str, before: Fingerprint) -> Fingerprint:
    """Return the current fingerprint of a file; its bytes are read only if its size or time of modification differ.

    Raises:
        OSError: the file cannot be read.
        InputError: the file is too large.
    """
    status = files.check_regular(Path(path))
    if (status.st_size, status.st_mtime_ns) == (before.size, before.mtime_ns):
        return before
    return _read(Path(path)).fingerprint


def _read(path: Path) -> ImageFile:
    status = files.check_regular(path)
    # A write after this line changes the time of modification, or is included in the digest.
    if status.st_size > _MOST_BYTES:
        return ImageFile(b"", Fingerprint(status.st_size, status.st_mtime_ns, _digest_of_tiff(path)))
    content = files.read_bytes(path, _MOST_BYTES)
    digest = hashlib.sha256(content).hexdigest()
    return ImageFile(content, Fingerprint(len(content), status.st_mtime_ns, digest))


def _digest_of_tiff(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(2) not in (b"II", b"MM"):
            read_image(path)  # refuses the file by its size
        file.seek(0)
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
        return digest.hexdigest()
