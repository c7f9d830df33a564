"""How pictures and masks travel to the page.

A mask is its run lengths, row after row, beginning with background: each a varint (seven bits a byte, least
significant first), the whole in base64. A mask of a photo is a few kilobytes, and the page paints it any way it likes.
"""

from __future__ import annotations

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mobilesam.arrays import AnyIntArray, BoolArray, FloatArray, IntArray, UInt8Array
from mobilesam.masks import rle
from mobilesam.masks import upsampling as masks

PREVIEW_SIDE = 2048  # more pixels than most windows show; coordinates stay those of the original
_JPEG_QUALITY = 92


def preview_hw(original_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) at which a picture is shown."""
    scale = min(1.0, PREVIEW_SIDE / max(original_hw))
    return max(1, round(original_hw[0] * scale)), max(1, round(original_hw[1] * scale))


def preview(image: UInt8Array) -> bytes:
    """Return a picture, (H, W, 3) uint8 RGB, as a JPEG of at most 2048 pixels a side."""
    height, width = preview_hw((image.shape[0], image.shape[1]))
    picture = Image.fromarray(image)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def shown_masks(
    low_res_logits: FloatArray,
    input_hw: tuple[int, int],
    original_hw: tuple[int, int],
    image_size: int,
    threshold: float,
) -> list[str]:
    """Return masks at the size at which the picture is shown, from logits (C, 256, 256)."""
    shown = masks.upsample(low_res_logits, input_hw, preview_hw(original_hw), image_size, threshold=threshold)
    return [pack(mask) for mask in np.asarray(shown, np.bool_)]


def shown_segment(segmentation: dict[str, Any]) -> str:
    """Return a mask given as uncompressed RLE at the size at which its picture is shown."""
    height, width = segmentation["size"]
    shown_height, shown_width = preview_hw((height, width))
    boundaries = rle.boundaries_of_rle(segmentation)
    x1, y1, x2, y2 = rle.box(boundaries, height)
    rows, columns = _sampled(height, shown_height, y1, y2), _sampled(width, shown_width, x1, x2)
    if not len(boundaries) or not len(rows.sources) or not len(columns.sources):
        return ""
    window = rle.columns_of(boundaries, height, x1, x2 + 1)[rows.sources[:, None], columns.sources - x1]
    return _text(rle.boundaries_of_columns(window, (rows.first, columns.first), shown_width))


class _Sampled(NamedTuple):
    """first: the first shown row or column that shows a part of the original. sources: which ones they show."""

    first: int
    sources: IntArray


def _sampled(original: int, shown: int, start: int, stop: int) -> _Sampled:
    sources = ((np.arange(shown) + 0.5) * (original / shown)).astype(np.int64)
    first, last = np.searchsorted(sources, [start, stop + 1])
    return _Sampled(int(first), sources[first:last])


def pack(mask: BoolArray) -> str:
    """Return a mask, (H, W) bool, as text."""
    return _text(rle.boundaries_of(mask.T))  # transposed, so that runs go along rows


def _text(boundaries: AnyIntArray) -> str:
    runs = np.diff(boundaries, prepend=0)
    groups = (runs[:, None] >> np.arange(0, 35, 7)) & 0x7F
    last = np.where(runs > 0, 4 - np.argmax(groups[:, ::-1] != 0, axis=1), 0)
    place = np.arange(5)
    groups |= np.where(place < last[:, None], 0x80, 0)
    return base64.b64encode(groups[place <= last[:, None]].astype(np.uint8).tobytes()).decode("ascii")
