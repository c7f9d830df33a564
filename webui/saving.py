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
from mobilesam.webui.session import CandidateMasks, Session, ShownImage, open_image

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
    """A file: its content, name and media type."""

    content: bytes
    name: str
    media_type: str


def save(
    service: Service, session: Session, kind: str, source: Any = "prompt", selected: Any = (), run: Any = None
) -> Saved:
    """Return a file of the chosen mask (``source`` "prompt") or of segments ("everything"; all if none is selected).

    ``run`` is the number of the run of everything mode that gave the segments, by default the last one. At most one
    mask of the size of the image is in memory at a time.

    Raises:
        InputError: there is nothing to save, or an argument is invalid.
        SessionExpiredError: the image was dropped.
        MissingDependencyError: the format needs a package that is not installed.
    """
    if kind not in KINDS:
        raise InputError(unknown_name("kind", kind, KINDS))
    if source not in ("prompt", "everything"):
        raise InputError(unknown_name("source", source, ("prompt", "everything")))
    image = open_image(session)
    stem = Path(image.name).stem or "image"
    if kind == "prompts":
        if not session.prompt.has_object:
            raise InputError("There is no prompt to save. Click the object first.")
        text = dump(PromptFile({image.name: (session.prompt,)}))
        return Saved(text.encode(), f"{stem}.prompts.json", "application/json")
    if source == "everything":
        if run is not None and run != session.run:
            raise InputError(sentence("run", f"be the last one, {session.run}", repr(run), "segment everything again"))
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
    """Return the chosen mask at the original size of the image.

    Raises:
        InputError: there is no mask yet.
    """
    if session.candidates is None:
        raise InputError("There is no mask to save. Click the object first.")
    return record_of(open_image(session), session.prompt, session.candidates, session.chosen, model)


def record_of(
    image: ShownImage, prompt: ObjectPrompt, candidates: CandidateMasks, index: int, model: MaskModel
) -> MaskRecord:
    """Return one of the candidate masks as a record with an uncompressed RLE."""
    frame = Frame(candidates.input_hw, image.hw, model.image_size)
    return segment.record_of(prompt, candidates.masks, index, frame, model.mask_threshold)


def _selected(segments: Sequence[MaskRecord], selected: Any) -> list[MaskRecord]:
    if not segments:
        raise InputError("There are no segments to save. Segment everything first.")
    if not isinstance(selected, list | tuple) or not all(
        isinstance(index, int) and 0 <= index < len(segments) for index in selected
    ):
        raise InputError(sentence("selected", f"be indices below {len(segments)}", repr(selected), "send a list"))
    return [segments[index] for index in sorted(set(selected))] or list(segments)
