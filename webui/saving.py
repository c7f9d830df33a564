"""Files of objects or of segments, in the formats of :mod:`mobilesam.formats.output`, alone or in one archive."""

from __future__ import annotations

import io
import re
import reprlib
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam.arrays import UInt8Array
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.formats.masked_image import OBJECT, MaskedImage, label_of, labels_of
from mobilesam.formats.output import FORMATS, write_masks
from mobilesam.formats.yolo import write_yolo_names
from mobilesam.prompts.file import PromptFile, dump
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.serve.bodies import read_json
from mobilesam.webui.objects import read_objects
from mobilesam.webui.service import Service
from mobilesam.webui.session import Session, open_image

KINDS = (*FORMATS, "prompts", "masks", "all")
_IN_ALL = ("coco", "labelme", "yolo", "instances", "csv", "geojson")
_ENDINGS = {  # and media types
    "coco": (".coco.json", "application/json"),
    "labelme": (".json", "application/json"),
    "yolo": (".txt", "text/plain"),
    "csv": (".csv", "text/csv"),
    "geojson": (".geojson", "application/geo+json"),
    "parquet": (".parquet", "application/vnd.apache.parquet"),
    "prompts": (".prompts.json", "application/json"),
}
_BY_PIXELS = ("overlay", "indexed", "instances", "labelme", "yolo", "geojson", "masks", "all")  # slow for many masks
_MAX_PIXELS = 20_000_000_000  # of all masks of one request together, in these formats
_ZIP = "application/zip"
_NAMES = "data.yaml"  # of YOLO's classes


class Saved(NamedTuple):
    """A file: its content, name and media type."""

    content: bytes
    name: str
    media_type: str


class _Source(NamedTuple):
    """What is saved: the masks of an image, the prompts of those that have one, and a function that gives the image."""

    masked: MaskedImage
    prompts: Sequence[ObjectPrompt]
    image: Callable[[], UInt8Array]

    @property
    def stem(self) -> str:
        """The name of the image without its ending."""
        return Path(self.masked.file_name).stem or "image"


def save(service: Service, session: Session, kind: str, content: bytes) -> Saved:
    """Return a file of objects or of segments.

    At most one mask of the size of the image is in memory at a time.

    Args:
        service: has the image.
        session: with the image, and the segments of everything mode.
        kind: a format, "masks" for an archive of one PNG an object, or "all" for an archive of the usual formats.
        content: JSON: ``{"objects": [...]}``, see :mod:`mobilesam.webui.objects`, or
            ``{"run": number, "selected": [...]}`` for segments of the last run of everything mode, all if none is
            selected.

    Raises:
        InputError: there is nothing to save, or an argument is invalid.
        SessionExpiredError: the image was dropped.
        MissingDependencyError: the format needs a package that is not installed.
    """
    if kind not in KINDS:
        raise InputError(unknown_name("kind", kind, KINDS))
    body, image = read_json(content), open_image(session)
    if "run" in body:
        selected = sorted(check_segments(session, body.get("run"), body.get("selected", []), "selected"))
        records, prompts = [session.segments[index] for index in selected] or list(session.segments), []
    else:
        objects = read_objects(body.get("objects", []), image.hw)
        records = [each.record for each in objects]
        prompts = [each.prompt for each in objects if each.prompt is not None]
    if kind in _BY_PIXELS and len(records) * image.hw[0] * image.hw[1] > _MAX_PIXELS:
        many = f"{len(records)} masks of {image.hw[1]} x {image.hw[0]} pixels"
        raise InputError(f"{many} are too many for one file in this format. Save them as COCO, or save fewer at once.")
    source = _Source(MaskedImage(image.name, image.hw, records), prompts, lambda: service.image(session))
    if kind == "all":
        return _archive(source, [*(("prompts",) if prompts else ()), *_IN_ALL, "masks"], ".mobilesam.zip")
    if kind == "masks":
        return _archive(source, ["masks"], ".masks.zip")
    if kind == "yolo" and labels_of([source.masked]) != [OBJECT]:
        return _archive(source, ["yolo"], ".yolo.zip")
    ending, media_type = _ENDINGS.get(kind, (f".{kind}.png", "image/png"))
    return Saved(_file(source, kind), source.stem + ending, media_type)


def check_segments(session: Session, run: Any, indices: Any, name: str) -> list[int]:
    """Return indices of segments of the last run of everything mode; ``name`` stands for them in messages.

    Raises:
        InputError: there are no segments, another run is asked for, or an index is invalid or occurs twice.
    """
    count = len(session.segments)
    if not count:
        raise InputError("There are no segments. Segment everything first.")
    if run != session.run:
        raise InputError(sentence("run", f"be the last one, {session.run}", reprlib.repr(run), "segment again"))
    valid = isinstance(indices, list) and all(
        isinstance(index, int) and not isinstance(index, bool) and 0 <= index < count for index in indices
    )
    if not valid or len(set(indices)) < len(indices):
        remedy = "send each index once"
        raise InputError(sentence(name, f"be a list of indices below {count}", reprlib.repr(indices), remedy))
    checked: list[int] = indices
    return checked


def _file(source: _Source, kind: str) -> bytes:
    """Return the content of a file in a format."""
    if kind == "prompts":
        if not source.prompts:
            raise InputError("There is no prompt to save. Click the object first.")
        return dump(PromptFile({source.masked.file_name: tuple(source.prompts)})).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "saved"
        labels = labels_of([source.masked])
        write_masks(kind, path, source.masked, source.image, prompts=source.prompts, labels=labels)
        return path.read_bytes()


def _archive(source: _Source, kinds: Sequence[str], ending: str) -> Saved:
    """Return an archive of files in several formats; their names differ even where case does not count."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind in kinds:
            if kind == "masks":
                _add_masks(archive, source)
                continue
            archive.writestr(source.stem + _ENDINGS.get(kind, (f".{kind}.png",))[0], _file(source, kind))
            if kind == "yolo":
                archive.writestr(_NAMES, _yolo_names(source))
    return Saved(buffer.getvalue(), source.stem + ending, _ZIP)


def _yolo_names(source: _Source) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _NAMES
        write_yolo_names(path, labels_of([source.masked]))
        return path.read_bytes()


def _add_masks(archive: zipfile.ZipFile, source: _Source) -> None:
    """Add one PNG an object, named after its number and label."""
    masked = source.masked
    digits = len(str(len(masked.records)))
    for number, record in enumerate(masked.records, start=1):
        label = re.sub(r"\W+", "-", label_of(record)).strip("-")[:40] or OBJECT
        one = source._replace(masked=masked._replace(records=[record]))
        archive.writestr(f"masks/{source.stem}-{number:0{digits}}-{label}.png", _file(one, "mask"))
