"""Reading of images as RGB.

- *alpha*: transparent pixels are blended with white, as viewers show them; opaque pixels keep their color.
- *16 bits* and *float*: see :mod:`mobilesam.image.pixels`. Of 16-bit *color* files Pillow reads the high byte only.
- *several frames* (GIF, TIFF, APNG): the first frame of a file, the current frame of a Pillow image.
- *EXIF orientation* is applied to files and Pillow images: (H, W) and all prompts refer to the image as viewed.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mobilesam.arrays import UInt8Array
from mobilesam.errors import InputError, sentence
from mobilesam.file_kind import describe
from mobilesam.files import MALFORMED, is_pipe, open_file, read_bytes, read_stream
from mobilesam.image.pixels import check_format
from mobilesam.image.pixels import to_rgb as to_rgb

MAX_PIXELS = 200_000_000  # twice those of a 100-megapixel camera; 600 MB as RGB
MAX_BYTES = 2**30  # of an encoded image, which pipes and some formats require to be read at once

# Suffixes of images in a folder. A path that names a single image may have any suffix.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".jp2", ".avif", ".heic", ".ppm", ".pgm"),
)

# What Pillow's decoders raise on damaged data, as found by fuzzing; the last few are bugs of decoders.
DECODE_ERRORS = (*MALFORMED, struct.error, zlib.error, Image.DecompressionBombError)

_BAND = 256  # rows copied at a time

_open_lock = threading.Lock()


def read_image(source: Any, image_format: str = "RGB", *, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Return an image as (H, W, 3) uint8 RGB.

    Args:
        source: a path of a regular file, the bytes of an image file, a pipe or binary file object of at most 1 GiB (it
            need not seek), a Pillow image, or an array as :func:`to_rgb` takes it.
        image_format: "RGB" or "BGR", the order of the channels of an array; ignored for files and Pillow images.
        max_pixels: the most pixels of a file; a larger one is not decoded.

    Raises:
        InputError: the source is missing, unreadable, damaged, not an image, or too large.
    """
    check_format(image_format)
    if isinstance(source, Image.Image):
        return _convert(source, "a Pillow image")
    if isinstance(source, str | os.PathLike):
        return _read_path(Path(source), max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(io.BytesIO(source), "data", max_pixels)
    if callable(getattr(source, "read", None)):
        return _decode(io.BytesIO(_read_stream(source)), "data", max_pixels)
    return to_rgb(source, image_format)


def count_frames(content: bytes) -> int:
    """Return how many frames an image file has; 1 if they cannot be counted because one is damaged."""
    try:
        with open_header(io.BytesIO(content)) as image:
            return int(getattr(image, "n_frames", 1))
    except DECODE_ERRORS:
        return 1


def read_image_hw(path: Path) -> tuple[int, int]:
    """Return the (height, width) that :func:`read_image` gives an image file, from its header alone.

    An EXIF orientation that stands behind the pixels of a PNG is not read.

    Raises:
        InputError: the file is missing, unreadable or not an image.
    """
    try:
        with open_file(path) as stream, open_header(stream) as image:
            width, height = image.size
            if tags := getattr(image, "tag_v2", None):  # of a TIFF, whose size some releases of Pillow give as viewed
                width, height = tags.get(ExifTags.Base.ImageWidth, width), tags.get(ExifTags.Base.ImageLength, height)
            try:
                exif = Image.Image.getexif(image)  # that of a PNG decodes its pixels
            except SyntaxError:
                exif = Image.Exif()
            return (width, height) if exif.get(ExifTags.Base.Orientation) in (5, 6, 7, 8) else (height, width)
    except DECODE_ERRORS as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its content is not an image" if unknown else getattr(error, "strerror", None) or error
        raise InputError(f"The image {path} cannot be read ({reason}). Check the file.") from error


def image_digest(image_rgb: UInt8Array) -> str:
    """Return the sha256 of an image's size and pixels, (H, W, 3) uint8 RGB, as 64 hexadecimal digits."""
    height, width = image_rgb.shape[:2]
    digest = hashlib.sha256(f"{height}x{width}x3".encode())
    digest.update(np.ascontiguousarray(image_rgb).data)
    return digest.hexdigest()


def decode_image(content: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> UInt8Array:
    """Decode the bytes of an image file like :func:`read_image`; ``name`` stands for it in messages."""
    return _decode(io.BytesIO(content), name, max_pixels)


def _read_stream(stream: BinaryIO) -> bytes:
    try:
        return read_stream(stream, MAX_BYTES)
    except TypeError as error:
        raise InputError(
            sentence("image file object", "be opened in binary mode", error, "open it with 'rb'")
        ) from error
    except (OSError, ValueError) as error:
        actual = getattr(error, "strerror", None) or error
        remedy = "pass an image file of at most 1 GiB"
        raise InputError(sentence("image file object", "be readable", actual, remedy)) from error


def _read_path(path: Path, max_pixels: int) -> UInt8Array:
    try:
        piped = is_pipe(path)
        stream = io.BytesIO(read_bytes(path, MAX_BYTES, pipes=True)) if piped else open_file(path)
    except IsADirectoryError as error:
        raise InputError(sentence("image", "be a file", f"the directory {path}", "name an image inside it")) from error
    except FileNotFoundError as error:
        raise InputError(sentence("image", "be an existing file", path, _missing_remedy(path))) from error
    except OSError as error:
        actual = f"{str(path)!r} ({error.strerror or error})"
        raise InputError(sentence("image", "be a readable file", actual, "check its path and permissions")) from error
    with stream:
        return _decode(stream, str(path), max_pixels)


def _missing_remedy(path: Path) -> str:
    if "://" in str(path) or str(path).startswith(("http:", "https:")):
        return "download it first, images are read from files"
    if not path.parent.is_dir():
        return f"there is no directory {path.parent}"
    try:
        there = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        there = []
    near = difflib.get_close_matches(path.name, there, n=1)
    return f"did you mean {str(path.with_name(near[0]))!r}?" if near else f"it is not in {path.parent.absolute()}"


def _decode(stream: BinaryIO, name: str, max_pixels: int) -> UInt8Array:
    try:
        return _decoded(stream, name, max_pixels)
    except MemoryError as error:
        raise InputError(f"Not enough memory to decode {name}. Shrink the image, or close other programs.") from error


def _decoded(stream: BinaryIO, name: str, max_pixels: int) -> UInt8Array:
    try:
        head = stream.read(512)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
    except OSError as error:
        actual = f"{name} ({error.strerror or error})"
        raise InputError(sentence("image", "be a readable file", actual, "check its disk")) from error
    if not head:
        raise InputError(sentence("image", "be an image", f"{name}, which is empty (zero bytes)", "replace the file"))
    if size > MAX_BYTES and not head.startswith((b"II", b"MM")):  # of a TIFF only the first frame is read
        actual = f"{name} of {size / 2**30:.1f} GiB"
        raise InputError(sentence("image", "have at most 1 GiB, unless it is a TIFF", actual, "shrink it"))
    try:
        image = open_header(stream)
    except DECODE_ERRORS as error:
        actual = f"{name}, which Pillow cannot read and looks like {describe(head)}"
        raise InputError(sentence("image", "be an image", actual, "pass a valid JPEG, PNG, WebP or TIFF")) from error
    with image:
        width, height = image.size
        if width * height > max_pixels:
            actual = f"{name} of {width} x {height} = {width * height / 1e6:.0f} million"
            limit = f"have at most {max_pixels / 1e6:g} million pixels"
            raise InputError(sentence("image", limit, actual, "shrink it, or increase max_pixels if you trust it"))
        if image.format == "EPS":  # Pillow would run Ghostscript on it
            actual = f"{name}, which is a PostScript drawing"
            raise InputError(sentence("image", "be made of pixels", actual, "export it as PNG"))
        return _convert(image, name)


def open_header(stream: BinaryIO) -> Image.Image:
    """Read the header of an image file without Pillow's limit, which would cause a warning below ``max_pixels``.

    The limit is a global variable of Pillow. It is restored before any pixel is decoded.
    """
    with _open_lock:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(stream)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _convert(image: Image.Image, name: str) -> UInt8Array:
    try:
        upright = _upright(image)
    except DECODE_ERRORS as error:
        remedy = "it is truncated or damaged, replace the file"
        raise InputError(sentence("image", "be a complete image", f"{name} ({error})", remedy)) from error
    if upright.mode.startswith("I") or upright.mode == "F":
        pixels = np.asarray(upright)
    else:
        try:
            mode = "RGBA" if _has_alpha(upright) else "RGB"
            pixels = _array(upright if upright.mode == mode else upright.convert(mode))
        except ValueError as error:
            actual = f"{name} of mode {upright.mode}"
            raise InputError(sentence("image", "convert to RGB", actual, "convert it first")) from error
    if pixels.dtype == np.int32 and pixels.size and pixels.min() >= 0 and pixels.max() <= 65535:
        pixels = pixels.astype(np.uint16)  # the mode in which Pillow opens some 16-bit files
    return to_rgb(pixels)


def _array(image: Image.Image) -> UInt8Array:
    """Copy an image of 8-bit channels some rows at a time; np.asarray makes two more copies of all of it."""
    width, height = image.size
    pixels = np.empty((height, width, len(image.mode)), np.uint8)
    for top in range(0, height, _BAND):
        box = (0, top, width, min(top + _BAND, height))
        # As crop, without Pillow's limit on the size of images.
        band = image.resize((width, box[3] - top), Image.Resampling.NEAREST, box)
        pixels[top : box[3]] = np.asarray(band)
    return pixels


def _has_alpha(image: Image.Image) -> bool:
    # Pillow's has_transparency_data fails on palette images without a palette, which its ICNS reader returns.
    in_palette = image.palette is not None and image.palette.mode.endswith("A")
    return image.mode.endswith(("A", "a")) or "transparency" in image.info or in_palette


def _upright(image: Image.Image) -> Image.Image:
    """Decode an image and apply its EXIF orientation."""
    image.load()
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except SyntaxError:
        return image  # unreadable EXIF is ignored, as viewers do, and Pillow for a JPEG
    return image if orientation == 1 else ImageOps.exif_transpose(image)
