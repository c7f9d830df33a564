"""Image files as they are read: once, with what tells later whether they have changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from mobilesam import reading
from mobilesam.errors import InputError, sentence
from mobilesam.image import read_image

_MOST_BYTES = 2**31  # a TIFF of as many pixels as are read, 16 bits each, takes less


class Fingerprint(NamedTuple):
    """What a file was when it was read: its size in bytes, time of modification, and the sha256 of its bytes."""

    size: int
    mtime_ns: int
    sha256: str


class ImageFile(NamedTuple):
    """The bytes of an image file, and its fingerprint."""

    content: bytes
    fingerprint: Fingerprint


def read_file(path: str) -> ImageFile:
    """Read an image file.

    Raises:
        InputError: it is missing, no regular file, too large, or cannot be read.
    """
    try:
        status = reading.check_regular(Path(path))
        # What is written to the file from here on leaves another time of modification, or is in the digest.
        content = reading.read_bytes(Path(path), _MOST_BYTES)
    except OSError as error:
        if isinstance(error, FileNotFoundError | IsADirectoryError):
            read_image(path)  # it says more about these
        actual = f"{path!r} ({error.strerror})"
        raise InputError(sentence("image", "be a readable file", actual, "check its path and permissions")) from error
    digest = hashlib.sha256(content).hexdigest()
    return ImageFile(content, Fingerprint(len(content), status.st_mtime_ns, digest))


def read_again(path: str, before: Fingerprint) -> Fingerprint:
    """Return the fingerprint of a file now; its bytes are read only if its size or time of modification differ.

    Raises:
        InputError: see :func:`read_file`.
    """
    try:
        status = reading.check_regular(Path(path))
    except OSError:
        return read_file(path).fingerprint
    if (status.st_size, status.st_mtime_ns) == (before.size, before.mtime_ns):
        return before
    return read_file(path).fingerprint
