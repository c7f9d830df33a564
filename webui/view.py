"""The JSON and the images that the page receives.

A mask is text: its run lengths along the rows, starting with the background, each a varint (seven bits a byte, least
significant first), in base64. The mask of a photo takes a few kilobytes, and the page paints it in any style.
"""

from __future__ import annotations

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mobilesam.arrays import AnyIntArray, BoolArray, IntArray, UInt8Array
from mobilesam.formats.output import describe
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord
from mobilesam.masks.upsampling import upsample
from mobilesam.model import MaskModel
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.serve.values import CandidateMasks, OpenImage
from mobilesam.webui.masks import record_of
from mobilesam.webui.session import Session

PREVIEW_SIDE = 2048  # more pixels than most windows show; coordinates stay those of the original
_JPEG_QUALITY = 92


def opened_view(session: Session, encode_ms: float) -> dict[str, Any]:
    """Return the image and the model of a session, and the time of the encoder."""
    image = None if session.image is None else image_view(session.image)
    return {"image": image, "model": session.model, "encode_ms": round(encode_ms, 1)}


def image_view(image: OpenImage) -> dict[str, Any]:
    """Return the name of an image, its size, and the size at which the image and its masks are sent."""
    height, width = preview_hw(image.hw)
    return {
        "key": image.key,
        "name": image.name,
        "note": image.note,
        "width": image.hw[1],
        "height": image.hw[0],
        "shown": {"width": width, "height": height},
    }


def prediction_view(
    candidates: CandidateMasks, prompt: ObjectPrompt, image: OpenImage, model: MaskModel, *, clean: bool
) -> dict[str, Any]:
    """Return the candidate masks of a prompt at the size at which their image is shown, and which is suggested."""
    masks, hw = candidates.masks, preview_hw(image.hw)
    if clean:
        records = [
            record_of(image, prompt, candidates, place, model, clean=True) for place in range(len(masks.indices))
        ]
        shown = [shown_segment(record["segmentation"]) for record in records]
    else:
        logits = masks.low_res_logits
        pixels = upsample(logits, candidates.input_hw, hw, model.image_size, threshold=model.mask_threshold)
        shown = [pack(mask) for mask in np.asarray(pixels, np.bool_)]
    confidences = [None] * len(shown) if masks.confidences is None else masks.confidences.tolist()
    return {
        "masks": [
            {"index": index, "predicted_iou": iou, "confidence": confidence, "rle": text}
            for index, iou, confidence, text in zip(
                masks.indices, masks.iou_predictions.tolist(), confidences, shown, strict=True
            )
        ],
        "best": masks.best,
        "decode_ms": round(candidates.decode_ms, 1),
        "refined": candidates.refined,
    }


def record_view(record: MaskRecord) -> dict[str, Any]:
    """Return a mask at the original size of its image: COCO run lengths and what is known of it."""
    return {"segmentation": rle.coco_encode_rle(record["segmentation"])} | describe(record)


def frozen_view(record: MaskRecord) -> dict[str, Any]:
    """Return :func:`record_view` and the mask at the size at which its image is shown."""
    return record_view(record) | {"rle": shown_segment(record["segmentation"])}


def preview_hw(original_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) at which an image is shown."""
    scale = min(1.0, PREVIEW_SIDE / max(original_hw))
    return max(1, round(original_hw[0] * scale)), max(1, round(original_hw[1] * scale))


def preview(image: UInt8Array) -> bytes:
    """Return an image, (H, W, 3) uint8 RGB, as a JPEG with sides of at most 2048 pixels."""
    height, width = preview_hw((image.shape[0], image.shape[1]))
    return _jpeg(image, (width, height))


def crop(image: UInt8Array, area: tuple[int, int, int, int], side: int) -> bytes:
    """Return a part of an image as a JPEG.

    Args:
        image: (H, W, 3) uint8 RGB.
        area: x y width height, in the image.
        side: the most pixels of a side of the JPEG.
    """
    x, y, width, height = area
    scale = min(1.0, side / max(width, height))
    return _jpeg(image[y : y + height, x : x + width], (max(1, round(width * scale)), max(1, round(height * scale))))


def _jpeg(image: UInt8Array, size: tuple[int, int]) -> bytes:
    shown = Image.fromarray(image)
    if shown.size != size:
        shown = shown.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def shown_segment(segmentation: dict[str, Any]) -> str:
    """Return a mask, an uncompressed RLE, as text at the size at which its image is shown."""
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
    """first: the first shown row or column of a range of the original. sources: the original's that they show."""

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
    position = np.arange(5)
    groups |= np.where(position < last[:, None], 0x80, 0)
    return base64.b64encode(groups[position <= last[:, None]].astype(np.uint8).tobytes()).decode("ascii")
