"""Image files that users open: read, or refused with a message that names the file."""

from __future__ import annotations

import io
import math

from mobilesam.arrays import UInt8Array
from mobilesam.errors import InputError
from mobilesam.image.read import DECODE_ERRORS, count_frames, open_header, read_image

_KINDS = "a JPEG, PNG, WebP, TIFF or BMP file"


def read_file(content: bytes, name: str, max_pixels: int) -> tuple[UInt8Array, str]:
    """Return the pixels of an image file, (H, W, 3) uint8 RGB, and a remark on how it was read, or "".

    Args:
        content: of the file.
        name: of the file, for messages.
        max_pixels: the most pixels of an image.

    Raises:
        InputError: the file is empty, damaged, not an image, or too large.
    """
    if not content:
        raise InputError(f"{name} is empty. Open another file.")
    try:
        with open_header(io.BytesIO(content)) as image:
            width, height = image.size
    except DECODE_ERRORS as error:
        raise InputError(f"{name} is not an image. Open {_KINDS}.") from error
    if width * height > max_pixels:
        size = f"{width} x {height} = {math.ceil(width * height / 1e5) / 10:g} million pixels"
        limit = f"This server accepts at most {max_pixels / 1e6:g} million"
        raise InputError(f"{name} has {size}. {limit}. Open a smaller copy.")
    try:
        pixels = read_image(content, max_pixels=max_pixels)
    except InputError as error:
        if isinstance(error.__cause__, MemoryError):
            raise
        raise InputError(f"{name} is damaged or incomplete. Open another copy of it, or {_KINDS}.") from error
    frames = count_frames(content)
    return pixels, f"The first of {frames} frames is shown." if frames > 1 else ""
