"""The boxes of detectors as prompts: COCO's results lists and CSV tables."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.files import MALFORMED, MAX_DATASET_BYTES, MAX_TEXT_BYTES, is_number, is_unicode, parse_json, read_bytes
from mobilesam.formats.coco_document import is_bbox, is_key, read_document
from mobilesam.prompts.file import ObjectPrompt, PromptFile

# Names of the columns of a CSV table, the preferred ones first, in lower case.
_IMAGE_COLUMNS = ("image", "file_name", "filename", "file", "image_path", "path", "image_id", "imageid")
_BOX_COLUMNS = (
    *(("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom")),
    *(("x", "y", "width", "height"), ("x", "y", "w", "h"), ("bbox_x", "bbox_y", "bbox_width", "bbox_height")),
)
_LABEL_COLUMNS = ("label", "class_name", "category_name", "category", "name", "class")
_SCORE_COLUMNS = ("score", "confidence", "conf")
_ID_COLUMNS = ("detection_id", "id")
_SIZED = ("width", "w", "bbox_width")  # the third column, if it is not the right side


def is_results(content: Any) -> bool:
    """Return whether JSON content is a list of detections, COCO's format for results."""
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and ("bbox" in first or "image_id" in first)


def results_prompts(content: Sequence[Any], path: Path, dataset: Path | None = None) -> PromptFile:
    """Return the boxes of a COCO results list as prompts.

    An image is named by ``file_name`` where the entries have one, else by its id in ``dataset``, a COCO file, else its
    id is the name of its file without the suffix, with or without leading zeros. An image with an entry that cannot be
    used is among the bad ones of the result.

    Raises:
        InputError: no entry can be used, or ``dataset`` cannot be read.
    """
    named, categories = _dataset(dataset)
    boxes = Boxes(named.values())
    by_name = dataset is None and any(isinstance(entry, dict) and "file_name" in entry for entry in content)
    for place, entry in enumerate(content):
        where = f"{path}[{place}]"
        with boxes.entry(where):
            if not isinstance(entry, dict):
                actual = reprlib.repr(entry)
                raise InputError(sentence(where, "be an object with a bbox", actual, "correct the entry"))
            name = _image_of(entry, where, named, dataset, by_name)
            with boxes.entry(name):
                if not is_bbox(entry.get("bbox")):
                    requirement, actual = "be numbers [x, y, width, height]", reprlib.repr(entry.get("bbox"))
                    raise InputError(sentence(f"{where}.bbox", requirement, actual, "correct the entry"))
                x, y, width, height = map(float, entry["bbox"])
                category = entry.get("category_id")
                known = categories.get(category, category) if is_key(category) else category
                label, score = entry.get("category_name", known), entry.get("score")
                boxes.add(name, box_prompt((x, y, x + width, y + height), where, label, score, entry.get("id")))
    return boxes.prompts(by_stem=dataset is None and not by_name)


def _image_of(
    entry: Mapping[str, Any], where: str, named: Mapping[Any, str], dataset: Path | None, by_name: bool
) -> str:
    """Return the name of the image of a detection."""
    image = entry.get("image_id")
    if isinstance(image, float) and image.is_integer():
        image = int(image)
    if "file_name" in entry:
        return str(entry["file_name"])
    if by_name:
        raise InputError(sentence(f"{where}.file_name", "be in all entries or in none", "no such key", "add it"))
    if isinstance(image, bool) or not isinstance(image, int | str):
        remedy = "add image_id or file_name"
        raise InputError(sentence(f"{where}.image_id", "be a number or text", reprlib.repr(image), remedy))
    if dataset is None:
        return str(image)
    if image not in named:
        actual = f"{image!r}, which {dataset} does not have"
        raise InputError(sentence(f"{where}.image_id", "be an image of the dataset", actual, "check --dataset"))
    return named[image]


def read_table(path: Path) -> PromptFile:
    """Return the boxes of a CSV table with a header, one box a line, in pixels.

    An image with a line that is not valid is among the bad ones of the result.

    Raises:
        InputError: the columns of the image or the box are missing, or no line is valid.
    """
    try:
        text = read_bytes(path, MAX_DATASET_BYTES, pipes=True).decode("utf-8-sig")
        table = csv.DictReader(io.StringIO(text, newline=""))
        columns = {str(name).strip().lower(): str(name) for name in table.fieldnames or ()}
        rows = [(table.line_num, row) for row in table]
    except OSError as error:
        raise InputError(f"The table {path} cannot be read ({error.strerror}). Check the path.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(sentence(f"the table {path}", "be CSV in UTF-8", str(error), "save it again")) from error
    image = _first(columns, _IMAGE_COLUMNS)
    corners = next((names for names in _BOX_COLUMNS if all(name in columns for name in names)), None)
    if image is None or corners is None:
        requirement = "have a column image or file_name, and columns x1, y1, x2, y2 or x, y, width, height"
        actual = ", ".join(columns) or "no header"
        raise InputError(sentence(f"the table {path}", requirement, actual[:200], "rename the columns"))
    label, score, number = (_first(columns, names) for names in (_LABEL_COLUMNS, _SCORE_COLUMNS, _ID_COLUMNS))
    boxes = Boxes()
    for place, row in rows:
        where = f"{path} line {place}"
        with boxes.entry(where):
            name = (row[image] or "").strip()
            if not name:
                raise InputError(sentence(f"{where}: {image}", "name an image", "none", "correct the line"))
            with boxes.entry(name):
                x1, y1, x2, y2 = (number_of(row[columns[side]], f"{where}: {side}") for side in corners)
                if corners[2] in _SIZED:
                    x2, y2 = x1 + x2, y1 + y2
                of_object, of_detection = (row[column] or None if column else None for column in (label, number))
                confidence = number_of(row[score], f"{where}: {score}") if score and row[score] else None
                boxes.add(name, box_prompt((x1, y1, x2, y2), where, of_object, confidence, of_detection))
    return boxes.prompts(by_stem=not any(Path(name).suffix for name in boxes.objects))


def filtered(prompts: PromptFile, min_score: float | None, labels: Sequence[str] | None) -> PromptFile:
    """Return the objects of at least this score, and with one of these labels; objects without a score are kept.

    Raises:
        InputError: no object has one of the labels, or ``min_score`` is not a finite number.
    """
    if min_score is not None and not math.isfinite(min_score):
        raise InputError(sentence("min_score", "be a finite number", min_score, "leave it out for all boxes"))
    every = [prompt for objects in (prompts.objects, *prompts.images.values()) for prompt in objects]
    known = sorted({prompt.label for prompt in every if prompt.label is not None})
    for name in labels or ():
        if name not in known:
            raise InputError(unknown_name("each of labels", name, known or ["none"]))

    def kept(objects: Iterable[ObjectPrompt]) -> tuple[ObjectPrompt, ...]:
        return tuple(
            prompt
            for prompt in objects
            if (min_score is None or prompt.score is None or prompt.score >= min_score)
            and (labels is None or prompt.label in labels)
        )

    images = {name: kept(objects) for name, objects in prompts.images.items()}
    return replace(prompts, images=images, objects=kept(prompts.objects))


class Boxes:
    """The boxes of named images, and why those of some images cannot be used.

    objects: by the name of the image; ``images`` have none at first.
    """

    def __init__(self, images: Iterable[str] = ()) -> None:
        self.objects: dict[str, list[ObjectPrompt]] = {name: [] for name in images}
        self._bad: dict[str, str] = {}

    def add(self, image: str, *prompts: ObjectPrompt) -> None:
        """Add the prompts of an image."""
        self.objects.setdefault(image, []).extend(prompts)

    @contextlib.contextmanager
    def entry(self, name: str) -> Iterator[None]:
        """Within the context, an InputError marks an image, or an entry without an image, as bad."""
        try:
            yield
        except InputError as error:
            self._bad.setdefault(name, str(error))

    def prompts(self, *, by_stem: bool) -> PromptFile:
        """Return the boxes as prompts; ``by_stem`` as in PromptFile.

        Raises:
            InputError: there is no box, or none can be used.
        """
        good = {name: tuple(of_image) for name, of_image in self.objects.items() if name not in self._bad}
        if self._bad and not any(good.values()):
            raise InputError(next(iter(self._bad.values())))
        if not good:
            raise InputError(sentence("prompts", "name an image", "none", "give a file with at least one box"))
        return PromptFile(good, by_stem=by_stem, bad=self._bad)


def box_prompt(box: Sequence[float], where: str, label: Any, score: Any, number: Any = None) -> ObjectPrompt:
    """Return the prompt of a box, x1 y1 x2 y2, which must have an area."""
    x1, y1, x2, y2 = box
    if not (all(map(math.isfinite, box)) and x1 < x2 and y1 < y2):
        actual = f"x1 {x1:g}, y1 {y1:g}, x2 {x2:g}, y2 {y2:g}"
        raise InputError(sentence(f"{where}: the box", "have a width and a height", actual, "correct the entry"))
    if score is not None and not is_number(score):
        raise InputError(sentence(f"{where}: the score", "be a number", reprlib.repr(score), "correct the entry"))
    for name, value in (("label", label), ("id", number)):
        if not isinstance(value, int | float | str | None) or not is_unicode(str(value)):
            raise InputError(sentence(f"{where}: the {name}", "be text or a number", reprlib.repr(value), "correct it"))
    return ObjectPrompt(
        box=(x1, y1, x2, y2),
        label=None if label is None or label == "" else str(label),
        score=None if score is None else float(score),
        detection_id=number if isinstance(number, int | str) else None,
        origin=where,
    )


def _dataset(path: Path | None) -> tuple[Mapping[Any, str], Mapping[Any, str]]:
    """Return the file names and the category names of a COCO dataset by id."""
    if path is None:
        return {}, {}
    try:
        document = read_document(path)
    except InputError:
        # A list of images without annotations, as of COCO's test images.
        try:
            content = read_json(path)
            categories = {entry["id"]: str(entry["name"]) for entry in content.get("categories") or []}
            return {entry["id"]: str(entry["file_name"]) for entry in content["images"]}, categories
        except MALFORMED:
            pass
        raise
    return {entry["id"]: str(entry["file_name"]) for entry in document.images}, document.categories


def _first(columns: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def number_of(text: str | None, where: str) -> float:
    """Return the finite number that a word is; ``where`` stands for it in messages."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(sentence(where, "be a number", reprlib.repr(text), "correct the line"))
    return value


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file."""
    try:
        return read_bytes(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        raise InputError(sentence(str(path), "be UTF-8 text", str(error), "save it again")) from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise InputError(sentence(str(path), "be JSON", str(error), "save it again")) from error
