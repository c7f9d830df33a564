"""Files of the chosen mask or of segments, in the formats of :mod:`mobilesam.formats.output`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam import segment
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.formats.masked_image import MaskedImage
from mobilesam.formats.output import FORMATS, write_masks
from mobilesam.masks.records import MaskRecord
from mobilesam.masks.upsampling import Frame
from mobilesam.model import MaskModel
from mobilesam.prompts.file import PromptFile, dump
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.webui.service import Service
from mobilesam.webui.session import Answer, Session, ShownImage

KINDS = (*FORMATS, "prompts")
_ENDINGS = {  # and media types
    "coco": (".coco.json", "application/json"),
    "labelme": (".json", "application/json"),
    "yolo": (".txt", "text/plain"),
    "csv": (".csv", "text/csv"),
    "geojson": (".geojson", "application/geo+json"),
    "parquet": (".parquet", "application/vnd.apache.parquet"),
}


class Saved(NamedTuple):
    """A file: its content, its name, its media type."""

    content: bytes
    name: str
    media_type: str


def save(
    service: Service, session: Session, kind: str, source: Any = "prompt", selected: Any = (), run: Any = None
) -> Saved:
    """Return a file of the chosen mask (``source`` "prompt") or of segments ("everything"; all if none is selected).

    ``run`` is the number of the run of everything mode that found the segments, by default the last one. At most one
    mask of the image's size is in memory at a time.

    Raises:
        InputError: there is nothing to save, or an argument is not known.
        GoneError: the picture is no longer in memory.
        MissingDependencyError: the format needs a package that is not installed.
    """
    if kind not in KINDS:
        raise InputError(unknown_name("kind", kind, KINDS))
    if source not in ("prompt", "everything"):
        raise InputError(unknown_name("source", source, ("prompt", "everything")))
    image = session.image
    if image is None:
        raise InputError("There is no image to save. Open one first.")
    stem = Path(image.name).stem or "picture"
    if kind == "prompts":
        if not session.prompt.has_object:
            raise InputError("There is no prompt to save. Click the object first.")
        text = dump(PromptFile({image.name: (session.prompt,)}))
        return Saved(text.encode(), f"{stem}.prompts.json", "application/json")
    if source == "everything":
        if run is not None and run != session.run:
            remedy = "segment everything again"
            raise InputError(sentence("run", f"be the last one, {session.run}", repr(run), remedy))
        records = _selected(session.segments, selected)
    else:
        records = [chosen_record(session, service.models.get(session.model))]
    masked = MaskedImage(image.name, image.hw, records)
    prompts = [session.prompt] if source == "prompt" else []
    ending, media_type = _ENDINGS.get(kind, (f".{kind}.png", "image/png"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "saved"
        write_masks(kind, path, masked, lambda: service.image(session), prompts=prompts)
        return Saved(path.read_bytes(), stem + ending, media_type)


def chosen_record(session: Session, model: MaskModel) -> MaskRecord:
    """Return the chosen mask at the picture's own size.

    Raises:
        InputError: there is no mask yet.
    """
    if session.answer is None:
        raise InputError("There is no mask to save. Click the object first.")
    assert session.image is not None, "an answer is to a picture"
    return record_of(session.image, session.prompt, session.answer, session.chosen, model)


def record_of(image: ShownImage, prompt: ObjectPrompt, answer: Answer, index: int, model: MaskModel) -> MaskRecord:
    """Return one mask of an answer; its segmentation is an uncompressed RLE."""
    frame = Frame(answer.input_hw, image.hw, model.image_size)
    return segment.record_of(prompt, answer.low_res_logits[index], answer.scores[index], frame, model.mask_threshold)


def _selected(segments: Sequence[MaskRecord], selected: Any) -> list[MaskRecord]:
    if not segments:
        raise InputError("There are no segments to save. Segment everything first.")
    if not isinstance(selected, list | tuple) or not all(
        isinstance(index, int) and 0 <= index < len(segments) for index in selected
    ):
        raise InputError(sentence("selected", f"be indices below {len(segments)}", repr(selected), "send a list"))
    return [segments[index] for index in sorted(set(selected))] or list(segments)
