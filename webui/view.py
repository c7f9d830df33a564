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
from mobilesam.masks import rle
from mobilesam.masks.upsampling import upsample
from mobilesam.model import MaskModel
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.prompts.schema import needs_steps
from mobilesam.webui.session import CandidateMasks, Session, ShownImage

PREVIEW_SIDE = 2048  # more pixels than most windows show; coordinates stay those of the original
_JPEG_QUALITY = 92


def session_view(session: Session, model: MaskModel | None) -> dict[str, Any]:
    """Return what the page draws: the image, the prompt, its masks, and whether there is something to undo or redo."""
    image, candidates = session.image, session.candidates
    return {
        "model": session.model,
        "prompt": prompt_view(session.prompt),
        "undo": bool(session.past),
        "redo": bool(session.future),
        "image": None if image is None else image_view(image),
        "masks": mask_views(candidates, image, model) if image and candidates and model else [],
        "chosen": session.chosen,
    }


def result_view(session: Session, model: MaskModel) -> dict[str, Any]:
    """Return :func:`session_view` and the time of the decoder, null if it did not run."""
    decode_ms = None if session.candidates is None else round(session.candidates.decode_ms, 1)
    return {"session": session_view(session, model), "decode_ms": decode_ms}


def image_view(image: ShownImage) -> dict[str, Any]:
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


def prompt_view(prompt: ObjectPrompt) -> dict[str, Any]:
    """Return a prompt in the form of the action ``restore``, with its steps and its chosen mask if it has any."""
    points = [[x, y, label] for (x, y), label in zip(prompt.points, prompt.labels, strict=True)]
    view: dict[str, Any] = {"points": points, "box": None if prompt.box is None else list(prompt.box)}
    if needs_steps(prompt):
        view |= {"steps": [prompt_view(step) for step in prompt.steps], "chosen": prompt.chosen}
    return view


def mask_views(candidates: CandidateMasks, image: ShownImage, model: MaskModel) -> list[dict[str, Any]]:
    """Return candidate masks at the size at which their image is shown."""
    masks, hw = candidates.masks, preview_hw(image.hw)
    shown = upsample(masks.low_res_logits, candidates.input_hw, hw, model.image_size, threshold=model.mask_threshold)
    confidences = [None] * len(shown) if masks.confidences is None else masks.confidences.tolist()
    return [
        {"predicted_iou": iou, "confidence": confidence, "rle": pack(mask)}
        for iou, confidence, mask in zip(
            masks.iou_predictions.tolist(), confidences, np.asarray(shown, np.bool_), strict=True
        )
    ]


def preview_hw(original_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) at which an image is shown."""
    scale = min(1.0, PREVIEW_SIDE / max(original_hw))
    return max(1, round(original_hw[0] * scale)), max(1, round(original_hw[1] * scale))


def preview(image: UInt8Array) -> bytes:
    """Return an image, (H, W, 3) uint8 RGB, as a JPEG with sides of at most 2048 pixels."""
    height, width = preview_hw((image.shape[0], image.shape[1]))
    shown = Image.fromarray(image)
    if shown.size != (width, height):
        shown = shown.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
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
