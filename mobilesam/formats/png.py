"""Pictures as PNG files: a binary mask, a cut-out object, any RGB picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mobilesam.files import atomic_path

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

# zlib's default takes three times as long for photos and saves a tenth of the bytes.
_PHOTO_COMPRESSION = 2


def write_mask(path: Path, mask: BoolArray, *, force: bool = False) -> None:
    """Write a mask, (H, W) bool, as an 8-bit gray PNG of 0 and 255."""
    _save(path, np.where(mask, 255, 0).astype(np.uint8), force, compress_level=6)


def write_cutout(path: Path, image: UInt8Array, mask: BoolArray, *, force: bool = False) -> None:
    """Write the masked part of a picture, (H, W, 3) uint8 RGB, as an RGBA PNG of the same size.

    Outside the mask all four channels are 0, so nothing of the rest of the picture is in the file.
    """
    inside = mask[..., None]
    _save(path, np.where(inside, np.dstack([image, np.full_like(image[..., 0], 255)]), 0), force)


def write_image(path: Path, image: UInt8Array, *, force: bool = False) -> None:
    """Write a picture, (H, W, 3) uint8 RGB."""
    _save(path, image, force)


def _save(path: Path, pixels: npt.NDArray[np.uint8], force: bool, compress_level: int = _PHOTO_COMPRESSION) -> None:
    with atomic_path(path, force=force) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=compress_level)
