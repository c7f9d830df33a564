"""The input of the image encoder, and completion of embeddings with fast padding.

The encoder takes a square: the image, resized to the side of the square, and zero padding below or to the right. With
*fast padding* it takes only the rows and columns of tokens that the image covers; the rest of the embedding is copied
from that of an empty square.

Letters: H W are the sides of the original image, h w those of the resized one, S the side of the square (1024).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from mobilesam.arrays import Array, FloatArray, UInt8Array
from mobilesam.errors import InputError, sentence
from mobilesam.geometry import resized_hw

# Means and standard deviations of ImageNet's RGB channels in 0..255, as in SAM's training.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

_BAND = 256  # rows resized at a time

Features = TypeVar("Features")


class EncoderInput(NamedTuple):
    """pixels: (1, 3, S, S) float32, or less with fast padding; input_hw: (h, w), before padding."""

    pixels: FloatArray
    input_hw: tuple[int, int]


def encoder_input(image_rgb: UInt8Array, image_size: int, patch_size: int | None = None) -> EncoderInput:
    """Return the encoder's input for an image, (H, W, 3) uint8 RGB.

    Args:
        image_size: S.
        patch_size: side of a token in pixels, for fast padding; by default the image is padded to the square.
    """
    resized = resize(image_rgb, image_size)
    height, width = resized.shape[:2]
    size_hw = (image_size, image_size)
    if patch_size is not None:
        size_hw = (-(-height // patch_size) * patch_size, -(-width // patch_size) * patch_size)
    return EncoderInput(pad(normalize(resized), size_hw), (height, width))


def encode_together(
    encode: Callable[[Any], Any], inputs: Sequence[tuple[Array, tuple[int, int]]], most: int
) -> list[tuple[Any, tuple[int, int]]]:
    """Encode inputs, at most ``most`` of one shape in a call.

    Args:
        encode: takes (B, 3, h, w) pixels and returns (B, 256, rows, columns) features.
        inputs: from :func:`encoder_input`, or of another form for ``most`` = 1.

    Returns:
        The features of each input, (1, 256, rows, columns), with its ``input_hw``.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for place, (pixels, _) in enumerate(inputs):
        alike.setdefault(pixels.shape, []).append(place)
    features: dict[int, Any] = {}
    for places in alike.values():
        for start in range(0, len(places), most):
            group = places[start : start + most]
            if len(group) == 1:
                features[group[0]] = encode(inputs[group[0]][0])
                continue
            encoded = encode(np.concatenate([inputs[place][0] for place in group]))
            # Copies, so that one embedding that is kept does not keep the others.
            for row, place in enumerate(group):
                part = encoded[row : row + 1]
                features[place] = part.clone() if hasattr(part, "clone") else part.copy()
    return [(features[place], input_hw) for place, (_, input_hw) in enumerate(inputs)]


def empty_input(image_size: int) -> FloatArray:
    """Return the encoder's input for an empty square, (1, 3, S, S) float32."""
    return np.zeros((1, 3, image_size, image_size), np.float32)


def complete_features(covered: Features, empty: Features) -> Features:
    """Return the embedding of the square from that of the part that the image covers.

    Args:
        covered: (1, 256, rows, columns), a NumPy array or a tensor.
        empty: (1, 256, 64, 64), the embedding of :func:`empty_input`, which is not changed.
    """
    part: Any = covered
    features: Any = copy.deepcopy(empty)
    features[..., : part.shape[-2], : part.shape[-1]] = part
    return features  # type: ignore[no-any-return]


def resize(image_rgb: UInt8Array, image_size: int) -> UInt8Array:
    """Return an image, (H, W, 3) uint8, with its longer side at ``image_size``: (h, w, 3) uint8.

    The filter is Pillow's antialiased bilinear one. The pixels equal those of SAM's ResizeLongestSide.

    Raises:
        InputError: the image is not such an array.
    """
    shape, dtype = getattr(image_rgb, "shape", None), getattr(image_rgb, "dtype", None)
    if not isinstance(image_rgb, np.ndarray) or image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or dtype != np.uint8:
        actual = type(image_rgb).__name__ if shape is None else f"{dtype} {tuple(shape)}"
        remedy = "read it with mobilesam.image.read_image"
        raise InputError(sentence("image", "be an array (H, W, 3) of uint8, RGB", actual, remedy))
    height, width = resized_hw((image_rgb.shape[0], image_rgb.shape[1]), image_size)
    if image_rgb.shape[:2] == (height, width):
        return image_rgb
    if image_rgb.shape[0] > 100 * image_rgb.shape[1]:
        return _resize(image_rgb, height, width)
    # Except for such strips, Pillow resizes the rows first, then the columns. It copies its input with 4 bytes for each
    # pixel, so it gets some rows at a time.
    bands = [image_rgb[top : top + _BAND] for top in range(0, len(image_rgb), _BAND)]
    narrow = np.concatenate([_resize(band, len(band), width) for band in bands])
    return _resize(narrow, height, width)


def _resize(image_rgb: UInt8Array, height: int, width: int) -> UInt8Array:
    return np.asarray(Image.fromarray(image_rgb).resize((width, height), Image.Resampling.BILINEAR))


def normalize(resized: UInt8Array) -> FloatArray:
    """Return an image, (h, w, 3) uint8 RGB, as (1, 3, h, w) float32 of zero mean and unit deviation."""
    normalized = resized.transpose(2, 0, 1).astype(np.float32, order="C")
    normalized -= np.array(PIXEL_MEAN, dtype=np.float32)[:, None, None]
    normalized /= np.array(PIXEL_STD, dtype=np.float32)[:, None, None]
    return normalized[None]


def pad(normalized: FloatArray, size_hw: tuple[int, int]) -> FloatArray:
    """Return (1, 3, h, w) float32 with zeros added below and to the right, up to ``size_hw`` (height, width)."""
    height, width = normalized.shape[-2:]
    padded = np.zeros((*normalized.shape[:-2], *size_hw), dtype=np.float32)
    padded[..., :height, :width] = normalized
    return padded
