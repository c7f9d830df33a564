"""Conversion of arrays to RGB.

- *alpha*: transparent pixels are blended with white, as viewers show them; opaque pixels keep their color.
- *uint16*: the bit depth is the smallest of 8, 10, 12, 14 and 16 that contains the largest value, because cameras and
  microscopes store 10 to 14 bits in 16.
- *float*: 0..1 times 255, rounded. Any other range is an error, because a guess would change the result silently.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mobilesam.arrays import UInt8Array
from mobilesam.errors import InputError, sentence, unknown_name


def to_rgb(array: Any, image_format: str = "RGB", name: str = "image") -> UInt8Array:
    """Return an array as a contiguous (H, W, 3) uint8 RGB image, sharing memory with ``array`` where it can.

    Args:
        array: (H, W) or (H, W, 1) gray, (H, W, 2) gray and alpha, (H, W, 3) color, (H, W, 4) color and alpha;
            bool, integers in 0..255, uint16, or float in 0..1.
        image_format: "RGB" or "BGR", the order of the color channels; alpha is last in both.
        name: of the array, for messages.

    Raises:
        InputError: the array has another shape, type or range.
    """
    check_format(image_format)
    pixels = _to_uint8(_checked_shape(array, name), name)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    alpha = pixels[..., -1] if channels in (2, 4) else None
    if channels <= 2:
        gray = pixels if pixels.ndim == 2 else pixels[..., 0]
        rgb = np.repeat(gray[..., None], 3, axis=2)
    else:
        rgb = np.take(pixels, (2, 1, 0), axis=2) if image_format == "BGR" else pixels[..., :3]
    if alpha is not None and alpha.min() < 255:
        rgb = _over_white(rgb, alpha)
    return np.ascontiguousarray(rgb)


def check_format(image_format: str) -> None:
    """Raise InputError unless ``image_format`` is "RGB" or "BGR"."""
    if image_format not in ("RGB", "BGR"):
        raise InputError(unknown_name("image_format", image_format, ("RGB", "BGR")))


def _checked_shape(array: Any, name: str) -> npt.NDArray[Any]:
    shapes = "be an (H, W), (H, W, 1..4) array"
    if array is None:
        raise InputError(sentence(name, "be an image", None, "pass a path, a Pillow image or an (H, W, 3) array"))
    try:
        pixels = np.asarray(array)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(sentence(name, shapes, f"{type(array).__name__} ({error})", "convert it first")) from error
    if pixels.dtype.kind not in "buif":
        actual = f"{type(array).__name__} of dtype {pixels.dtype}"
        raise InputError(sentence(name, "have numbers", actual, "pass a path, a Pillow image or an (H, W, 3) array"))
    if pixels.size == 0:
        raise InputError(sentence(name, "have pixels", f"shape {pixels.shape}", "check how it was read or cropped"))
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] <= 4):
        return pixels
    remedy = "pass one image at a time"
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4):
        remedy = "move the channels last with image.transpose(1, 2, 0)"
    elif pixels.ndim == 4 and pixels.shape[0] == 1:
        remedy = "pass image[0]"
    elif pixels.ndim == 3:
        remedy = "pass three of its channels"
    raise InputError(sentence(name, shapes, f"shape {pixels.shape}", remedy))


def _to_uint8(pixels: npt.NDArray[Any], name: str) -> UInt8Array:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "f":
        return _float_to_uint8(pixels, name)
    low, high = int(pixels.min()), int(pixels.max())
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        top = next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits)
        eight_bit = ((np.arange(top + 1) * 255 + top // 2) // top).astype(np.uint8)
        return np.take(eight_bit, pixels)
    if low < 0 or high > 255:
        remedy = "scale it to 0..255, or pass uint16 for images of 10 to 16 bits"
        raise InputError(sentence(name, "have integers in 0..255", f"{low}..{high} ({pixels.dtype})", remedy))
    return pixels.astype(np.uint8)


def _float_to_uint8(pixels: npt.NDArray[Any], name: str) -> UInt8Array:
    faulty = pixels.size - np.count_nonzero(np.isfinite(pixels))
    if faulty:
        actual = f"{faulty} NaN or infinite values"
        raise InputError(sentence(name, "be finite", actual, "replace them, for example with np.nan_to_num"))
    low, high = float(pixels.min()), float(pixels.max())
    tolerance = 1e-4  # for rounding errors
    if low < -tolerance or high > 1 + tolerance:
        remedy = "use image.astype(np.uint8)" if low >= 0 and 1 < high <= 255 else "scale it to 0..1"
        raise InputError(sentence(name, "have floats in 0..1", f"{low:g}..{high:g}", remedy))
    eight_bit: UInt8Array = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return eight_bit


def _over_white(rgb: UInt8Array, alpha: UInt8Array) -> UInt8Array:
    opacity = alpha[..., None].astype(np.uint16)
    composite: UInt8Array = ((rgb * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
    return composite
