"""Images as PNG files: a binary mask, a map of all the masks, a cut-out object, any RGB image.

A map holds each pixel's mask by its number, 0 for none: 8-bit with colors for up to 255 masks ("indexed"), or 16-bit
for up to 65535 ("instances"). A pixel has room for one mask only; smaller ones lie on top of larger ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from mobilesam.arrays import BoolArray, UInt8Array
from mobilesam.errors import FormatLossWarning, InputError, sentence
from mobilesam.files import atomic_path, open_file
from mobilesam.formats.masked_image import MaskedImage, image_size, read_record
from mobilesam.image.read import DECODE_ERRORS, open_header
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord
from mobilesam.visualize import palette

# zlib's default takes three times as long for photos and saves a tenth of the bytes.
_PHOTO_COMPRESSION = 2


def write_mask(path: Path, mask: BoolArray, *, force: bool = False) -> None:
    """Write a mask, (H, W) bool, as an 8-bit gray PNG of 0 and 255."""
    _save(path, mask * np.uint8(255), force, compress_level=6)


def write_indexed(path: Path, masked: MaskedImage, *, force: bool = False) -> None:
    """Write a map of at most 255 masks as an 8-bit PNG whose palette has the colors of the overlay.

    Raises:
        InputError: there are more masks.
    """
    image = Image.fromarray(_numbers(masked, 255, "write the 16-bit map instead").astype(np.uint8))
    image.putpalette(np.concatenate([np.zeros((1, 3), np.uint8), palette(255)]).tobytes())
    with atomic_path(path, force=force) as temporary:
        image.save(temporary, format="PNG", compress_level=6)


def write_instances(path: Path, image: MaskedImage, *, force: bool = False) -> None:
    """Write a map of at most 65535 masks as a 16-bit gray PNG.

    Raises:
        InputError: there are more masks.
    """
    _save(path, _numbers(image, 65535, "keep fewer"), force, compress_level=6)


def read_mask(path: Path) -> BoolArray:
    """Read a binary mask, (H, W) bool: what is not 0.

    Raises:
        InputError: the file is not a gray image.
    """
    mask: BoolArray = _read(path) > 0
    return mask


def is_map(path: Path) -> bool:
    """Return whether a file is an image of one channel, as a map of masks is; only its header is read."""
    try:
        with open_file(path) as stream, open_header(stream) as image:
            return len(image.getbands()) == 1
    except DECODE_ERRORS:
        return False


def read_map(path: Path) -> MaskedImage:
    """Read a map of masks, indexed or 16-bit, in the order of their numbers.

    Raises:
        InputError: the file is not a gray or indexed image.
    """
    numbers = _read(path)
    hw = (numbers.shape[0], numbers.shape[1])
    result = np.unique(numbers[numbers > 0]).tolist()
    return MaskedImage(path.name, hw, [read_record(rle.boundaries_of(numbers == each), hw) for each in result])


def write_cutout(path: Path, image: UInt8Array, mask: BoolArray, *, force: bool = False) -> None:
    """Write the masked part of an image, (H, W, 3) uint8 RGB, as an RGBA PNG of the same size.

    Outside the mask all four channels are 0, so nothing of the rest of the image is in the file.
    """
    cutout = np.empty((*mask.shape, 4), np.uint8)
    np.multiply(image, mask[..., None], out=cutout[..., :3])
    np.multiply(mask, np.uint8(255), out=cutout[..., 3])
    _save(path, cutout, force)


def write_image(path: Path, image: UInt8Array, *, force: bool = False) -> None:
    """Write an image, (H, W, 3) uint8 RGB."""
    _save(path, image, force)


def _numbers(image: MaskedImage, limit: int, remedy: str) -> npt.NDArray[np.uint16]:
    records: Sequence[MaskRecord] = image.records
    if len(records) > limit:
        raise InputError(sentence("the masks of a map", f"be at most {limit}", len(records), remedy))
    numbers = np.zeros(image.hw, np.uint16)
    hidden = False
    for index in sorted(range(len(records)), key=lambda i: -records[i]["area"]):
        mask = rle.rle_to_mask(records[index]["segmentation"])
        hidden = hidden or bool(numbers[mask].any())
        numbers[mask] = index + 1
    if hidden:
        warnings.warn(
            "a map has room for one mask a pixel: where masks overlap, the smaller one is kept",
            FormatLossWarning,
            stacklevel=1,  # one place, so that it is said once
        )
    return numbers


def _read(path: Path) -> npt.NDArray[Any]:
    try:
        with open_file(path) as stream, open_header(stream) as image:
            image_size(image.height, image.width)
            mode, pixels = image.mode, np.array(image)
    except DECODE_ERRORS as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its content is not an image" if unknown else getattr(error, "strerror", None) or error
        raise InputError(f"The mask {path} cannot be read as an image ({reason}). Check the file.") from error
    if pixels.ndim != 2:
        remedy = "give the mask itself, not the image drawn with it"
        raise InputError(sentence("mask", "be gray or indexed", f"{path.name} of mode {mode}", remedy))
    return pixels


def _save(path: Path, pixels: npt.NDArray[Any], force: bool, compress_level: int = _PHOTO_COMPRESSION) -> None:
    with atomic_path(path, force=force) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=compress_level)
