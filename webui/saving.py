"""Files of the chosen mask or of segments, in the formats of :mod:`mobilesam.formats`."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam import segment
from mobilesam.arrays import AnyIntArray, BoolArray
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.formats import png
from mobilesam.formats.coco import coco_dataset
from mobilesam.formats.labelme import labelme_document
from mobilesam.formats.picture import MaskedPicture
from mobilesam.formats.yolo import yolo_labels
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord
from mobilesam.masks.upsampling import Frame
from mobilesam.model import MaskModel
from mobilesam.prompts.file import PromptFile, dump
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.webui.session import Answer, Picture, Session
from mobilesam.webui.studio import Studio

KINDS = ("mask", "cutout", "coco", "labelme", "yolo", "prompts")


class Saved(NamedTuple):
    """A file: its content, its name, its media type."""

    content: bytes
    name: str
    media_type: str


def save(
    studio: Studio, session: Session, kind: str, source: Any = "prompt", selected: Any = (), run: Any = None
) -> Saved:
    """Return a file of the chosen mask (``source`` "prompt") or of segments ("everything"; all if none is selected).

    ``run`` is the number of the run of everything mode that found the segments, by default the last one. At most one
    mask of the image's size is in memory at a time.

    Raises:
        InputError: there is nothing to save, or an argument is not known.
        GoneError: the picture is no longer in memory.
    """
    if kind not in KINDS:
        raise InputError(unknown_name("kind", kind, KINDS))
    if source not in ("prompt", "everything"):
        raise InputError(unknown_name("source", source, ("prompt", "everything")))
    picture = session.picture
    if picture is None:
        raise InputError("There is no image to save. Open one first.")
    stem = Path(picture.name).stem or "picture"
    if kind == "prompts":
        if not session.prompt.has_object:
            raise InputError("There is no prompt to save. Click the object first.")
        text = dump(PromptFile({picture.name: (session.prompt,)}))
        return Saved(text.encode(), f"{stem}.prompts.json", "application/json")
    if source == "everything":
        if run is not None and run != session.run:
            remedy = "segment everything again"
            raise InputError(sentence("run", f"be the last one, {session.run}", repr(run), remedy))
        records = _selected(session.segments, selected)
    else:
        records = [chosen_record(session, studio.models.get(session.model))]
    if kind in ("mask", "cutout"):
        mask = rle.mask_of(_union(records), picture.hw)
        return Saved(_png(studio, session, kind, mask), f"{stem}.{kind}.png", "image/png")
    masked = MaskedPicture(picture.name, picture.hw, records)
    if kind == "yolo":
        return Saved(yolo_labels(records).encode(), f"{stem}.txt", "text/plain")
    if kind == "labelme":
        return Saved(_json(labelme_document(masked)), f"{stem}.json", "application/json")
    return Saved(_json(coco_dataset([masked])), f"{stem}.coco.json", "application/json")


def chosen_record(session: Session, model: MaskModel) -> MaskRecord:
    """Return the chosen mask at the picture's own size.

    Raises:
        InputError: there is no mask yet.
    """
    if session.answer is None:
        raise InputError("There is no mask to save. Click the object first.")
    assert session.picture is not None, "an answer is to a picture"
    return record_of(session.picture, session.prompt, session.answer, session.chosen, model)


def record_of(picture: Picture, prompt: ObjectPrompt, answer: Answer, index: int, model: MaskModel) -> MaskRecord:
    """Return one mask of an answer; its segmentation is an uncompressed RLE."""
    frame = Frame(answer.input_hw, picture.hw, model.image_size)
    return segment.record_of(prompt, answer.low_res_logits[index], answer.scores[index], frame, model.mask_threshold)


def _selected(segments: Sequence[MaskRecord], selected: Any) -> list[MaskRecord]:
    if not segments:
        raise InputError("There are no segments to save. Segment everything first.")
    if not isinstance(selected, list | tuple) or not all(
        isinstance(index, int) and 0 <= index < len(segments) for index in selected
    ):
        raise InputError(sentence("selected", f"be indices below {len(segments)}", repr(selected), "send a list"))
    return [segments[index] for index in sorted(set(selected))] or list(segments)


def _union(records: Sequence[MaskRecord]) -> AnyIntArray:
    """Return the boundaries of what lies in any of the masks; they are joined one at a time, without decoding them."""
    masks = (rle.boundaries_of_rle(record["segmentation"]) for record in records)
    return functools.reduce(lambda union, mask: rle.union([union, mask]), masks)


def _png(studio: Studio, session: Session, kind: str, mask: BoolArray) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "saved.png"
        if kind == "mask":
            png.write_mask(path, mask)
        else:
            png.write_cutout(path, studio.picture(session), mask)
        return path.read_bytes()


def _json(document: Any) -> bytes:
    return (json.dumps(document) + "\n").encode()
