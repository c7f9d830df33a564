"""The boxes of detectors as prompts: COCO's results lists and CSV tables."""

from __future__ import annotations

import csv
import io
import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.files import MALFORMED, MAX_DATASET_BYTES, parse_json, read_bytes
from mobilesam.formats.boxes import Boxes, Ids, box_prompt, detection, id_text, number_of
from mobilesam.prompts.file import ObjectPrompt, PromptFile

# Names of the columns of a CSV table, the preferred ones first, in lower case.
_IMAGE_COLUMNS = ("image", "file_name", "filename", "file", "image_path", "path", "image_id", "imageid")
_BOX_COLUMNS = (
    *(("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom")),
    *(("x", "y", "w", "h"), ("x", "y", "width", "height"), ("bbox_x", "bbox_y", "bbox_width", "bbox_height")),
)
_LABEL_COLUMNS = (
    *("label", "labelname", "class_name", "category_name", "category", "name", "class", "cls"),
    *("class_id", "category_id", "class_idx"),
)
_SCORE_COLUMNS = ("score", "confidence", "conf")
_ID_COLUMNS = ("detection_id", "id")
_SIZED = ("width", "w", "bbox_width")  # the third column, if it is not the right side


class Dataset(NamedTuple):
    """The names of images and categories of a COCO file, by their ids as text."""

    images: Mapping[str, str]
    categories: Mapping[str, str]

    @property
    def ids(self) -> Ids:
        """The ids that are numbers, by the names."""
        return Ids(*({name: int(key) for key, name in part.items() if key.isdecimal()} for part in self))


def is_results(content: Any) -> bool:
    """Return whether JSON content is a list of detections, COCO's format for results."""
    return isinstance(content, list) and not any(isinstance(entry, dict) and "data" in entry for entry in content)


def results_prompts(content: Sequence[Any], path: Path, dataset: Dataset | None = None) -> PromptFile:
    """Return the boxes of a COCO results list as prompts.

    An image is named by ``file_name`` where an entry has one, else by its id in ``dataset``, else its id is the name of
    its file without the suffix, with or without leading zeros.

    Raises:
        InputError: no entry can be used.
    """
    images, categories = dataset or Dataset({}, {})
    boxes = Boxes(path, images=images.values(), labels=categories.values())
    ids: dict[str, int] = {}
    for place, entry in enumerate(content):
        where = f"{path}[{place}]"
        with boxes.entry(entry.get("score") if isinstance(entry, dict) else None):
            if not isinstance(entry, dict):
                actual = reprlib.repr(entry)
                raise InputError(sentence(where, "be an object with a bbox", actual, "correct the entry"))
            image = entry.get("image_id")
            name = entry.get("file_name")
            if name is not None and not (isinstance(name, str) and name):
                actual = reprlib.repr(name)
                raise InputError(sentence(f"{where}: file_name", "be text", actual, "leave it out for image_id"))
            if name is None:
                name = _image_of(image, where, dataset)
            boxes.add(name, detection(entry, where, categories if dataset else None, place))
            if isinstance(image, int):
                ids.setdefault(name, image)
    return boxes.prompts(by_stem=dataset is None, ids=dataset.ids if dataset else Ids(ids, {}))


def _image_of(image: Any, where: str, dataset: Dataset | None) -> str:
    """Return the name of the image of a detection by its id."""
    if isinstance(image, bool) or not isinstance(image, int | float | str) or image == "":
        remedy = "add image_id or file_name"
        raise InputError(sentence(f"{where}: image_id", "be a number or text", reprlib.repr(image), remedy))
    name = id_text(image)
    if dataset is None:
        return name
    if name not in dataset.images:
        actual = f"{image!r}, which it does not have"
        raise InputError(sentence(f"{where}: image_id", "be an image of the dataset", actual, "check --dataset"))
    return dataset.images[name]


def read_table(path: Path, content: bytes) -> PromptFile:
    """Return the boxes of a CSV table with a header, one box a line, in pixels, or in 0..1 of the image's sides.

    Columns are separated by commas, semicolons or tabs.

    Raises:
        InputError: the columns of the image or the box are missing, or no line can be used.
    """
    try:
        text = content.decode("utf-8-sig")
        header = text.partition("\n")[0]
        delimiter = max(",;\t", key=header.count)
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        columns = {str(name).strip().lower(): str(name) for name in table.fieldnames or ()}
        rows = [(table.line_num, row) for row in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(sentence(f"the table {path}", "be CSV in UTF-8", str(error), "save it again")) from error
    image = _first(columns, _IMAGE_COLUMNS)
    corners = next((names for names in _BOX_COLUMNS if all(name in columns for name in names)), None)
    if image is None or corners is None:
        requirement = "have a column image or file_name, and columns x1, y1, x2, y2 or x, y, width, height"
        actual = ", ".join(columns) or "no header"
        raise InputError(sentence(f"the table {path}", requirement, actual[:200], "rename the columns"))
    label, score, number = (_first(columns, names) for names in (_LABEL_COLUMNS, _SCORE_COLUMNS, _ID_COLUMNS))
    boxes, largest = Boxes(path), 0.0
    for place, row in rows:
        where = f"{path} line {place}"
        with boxes.entry():
            name = (row[image] or "").strip()
            if not name:
                raise InputError(sentence(f"{where}: {image}", "name an image", "none", "correct the line"))
            x1, y1, x2, y2 = (number_of(row[columns[side]], f"{where}: {side}") for side in corners)
            if corners[2] in _SIZED:
                x2, y2 = x1 + x2, y1 + y2
            of_object, of_detection = (row[column] or None if column else None for column in (label, number))
            confidence = number_of(row[score], f"{where}: {score}") if score and row[score] else None
            boxes.add(name, box_prompt((x1, y1, x2, y2), where, of_object, confidence, of_detection or place - 2))
            largest = max(largest, x2, y2)
    prompts = boxes.prompts(by_stem=True)
    if largest > 1:
        return prompts
    shares = {
        name: tuple(replace(prompt, normalized=True) for prompt in objects) for name, objects in prompts.images.items()
    }
    return replace(prompts, images=shares)


def filtered(prompts: PromptFile, min_score: float | None, labels: Sequence[str] | None) -> PromptFile:
    """Return the objects of at least this score, and with one of these labels; objects without a score are kept.

    Raises:
        InputError: no object has one of the labels, ``min_score`` is not a finite number, or nothing is left.
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

    left = replace(
        prompts,
        problems=tuple(
            each for each in prompts.problems if min_score is None or each.score is None or each.score >= min_score
        ),
        images={name: kept(objects) for name, objects in prompts.images.items()},
        objects=kept(prompts.objects),
    )
    if every and not any((left.objects, *left.images.values())):
        given = [f"min_score {min_score:g}"] if min_score is not None else []
        given += [f"labels {', '.join(labels)}"] if labels is not None else []
        raise InputError(f"None of the {len(every)} objects is left with {' and '.join(given)}. Leave out less.")
    return left


def read_dataset(path: Path) -> Dataset:
    """Return the images and the categories of a COCO file, which needs no annotations, or of a pipe that gives one.

    Raises:
        InputError: the file cannot be read, or has no images.
    """
    try:
        content = parse_json(read_bytes(path, MAX_DATASET_BYTES, pipes=True))
        images = {id_text(entry["id"]): str(entry["file_name"]) for entry in content["images"]}
        categories = {id_text(entry["id"]): str(entry["name"]) for entry in content.get("categories") or []}
    except OSError as error:
        raise InputError(f"The dataset {path} cannot be read ({error.strerror}). Check the path.") from error
    except MALFORMED as error:
        requirement = "be COCO JSON with the list images, each with id and file_name"
        raise InputError(sentence(f"the dataset {path}", requirement, repr(error)[:80], "check --dataset")) from error
    if not images:
        raise InputError(sentence(f"the dataset {path}", "have images", "none", "check --dataset"))
    return Dataset(images, categories)


def _first(columns: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)
