"""Folders of boxes as prompts: YOLO's text files and labelme's JSON files, one for each image."""

from __future__ import annotations

import itertools
import json
import re
import reprlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mobilesam.errors import FormatLossWarning, InputError, sentence
from mobilesam.files import is_number
from mobilesam.formats.detections import Boxes, box_prompt, number_of, read_json, read_text
from mobilesam.prompts.file import ObjectPrompt, PromptFile

_NAMES_FILES = ("classes.txt", "data.yaml", "dataset.yaml")
_SLACK = 0.1  # of normalized boxes beyond the image


def read_folder(folder: Path) -> PromptFile:
    """Return the boxes of a folder of YOLO's text files or of labelme's JSON files, one for each image.

    An image belongs to the file of the same name. Images whose file is not valid are among the bad ones of the result.

    Raises:
        InputError: the folder has neither or both, or no file is valid.
    """
    texts = sorted(path for path in folder.glob("*.txt") if path.name not in _NAMES_FILES)
    documents = sorted(folder.glob("*.json"))
    if bool(texts) == bool(documents):
        actual = f"{folder} with {'both' if texts else 'neither'}"
        remedy = "give a folder of one kind"
        raise InputError(sentence("prompts", "be a folder of YOLO's .txt or labelme's .json files", actual, remedy))
    boxes, names, others = Boxes(), _class_names(folder) if texts else {}, 0
    for path in texts or documents:
        with boxes.entry(path.stem):
            if texts:
                boxes.add(path.stem, *_yolo(path, names))
            else:
                objects, ignored = _labelme(path)
                boxes.add(path.stem, *objects)
                others += ignored
    if others:
        message = f"{folder} has {others} shapes that are no rectangles; they are left out"
        warnings.warn(message, FormatLossWarning, stacklevel=2)
    return boxes.prompts(by_stem=True)


def _yolo(path: Path, names: Mapping[int, str]) -> Iterator[ObjectPrompt]:
    for place, line in enumerate(read_text(path).splitlines(), start=1):
        where = f"{path} line {place}"
        fields = line.split()
        if not fields:
            continue
        # class cx cy w h [score], or class and the corners of a polygon
        is_polygon = len(fields) >= 7 and len(fields) % 2 == 1
        if not (len(fields) in (5, 6) or is_polygon):
            actual = f"{len(fields)} fields"
            raise InputError(sentence(where, "have a class, x, y, width and height", actual, "correct the line"))
        number, *values = (number_of(word, where) for word in fields)
        placed = values if is_polygon else values[:4]
        if not all(-_SLACK <= value <= 1 + _SLACK for value in placed):
            remedy = "divide x by the width and y by the height"
            raise InputError(sentence(where, "have coordinates in 0..1", reprlib.repr(placed), remedy))
        if is_polygon:
            box = (min(placed[::2]), min(placed[1::2]), max(placed[::2]), max(placed[1::2]))
        else:
            x, y, width, height = placed
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        score = values[4] if len(fields) == 6 else None
        if number < 0 or not number.is_integer():
            actual = fields[0]
            raise InputError(sentence(f"{where}: the class", "be a whole number from 0", actual, "correct the line"))
        label = names.get(int(number), f"{int(number)}")
        yield replace(box_prompt(box, where, label, score), normalized=True)


def _class_names(folder: Path) -> dict[int, str]:
    """Return the names of YOLO's classes by number, from a file beside the labels or in the folder above."""
    for path in (place / name for place in (folder, folder.parent) for name in _NAMES_FILES):
        if path.is_file():
            lines = read_text(path).splitlines()
            if path.suffix == ".txt":
                return dict(enumerate(filter(None, map(str.strip, lines))))
            return _yaml_names(lines)
    return {}


def _yaml_names(lines: Sequence[str]) -> dict[int, str]:
    """Return the entry ``names`` of a YAML file, a list or a mapping from numbers, as YOLO's tools write it."""
    start = next((place for place, line in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        return {}
    inline = lines[start].removeprefix("names:").strip()
    if inline.startswith("["):
        return dict(enumerate(_plain(word) for word in inline.strip("[]").split(",")))
    names: dict[int, str] = {}
    for line in itertools.takewhile(lambda line: not line or line[0] in " -#", lines[start + 1 :]):
        if match := re.fullmatch(r"\s*(?:(\d+)\s*:|-)\s+(.+?)\s*(?:\s#.*)?", line):
            names[len(names) if match[1] is None else int(match[1])] = _plain(match[2])
    return names


def _plain(word: str) -> str:
    word = word.strip()
    if word.startswith('"'):
        try:
            return str(json.loads(word))
        except ValueError:
            return word.strip('"')
    return word.strip("'")


def _labelme(path: Path) -> tuple[list[ObjectPrompt], int]:
    """Return the rectangles of a file, and the number of its other shapes."""
    content = read_json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise InputError(sentence(str(path), "be labelme's JSON", "no list 'shapes'", "save it with labelme again"))
    objects, others = list[ObjectPrompt](), 0
    for place, shape in enumerate(shapes):
        where = f"{path}: shapes[{place}]"
        if not isinstance(shape, dict) or shape.get("shape_type") != "rectangle":
            others += 1
            continue
        points: Any = shape.get("points")
        try:
            (x1, y1), (x2, y2) = points
            if not all(map(is_number, (x1, y1, x2, y2))):
                raise ValueError("points of other values than numbers")
        except (TypeError, ValueError) as error:
            actual = reprlib.repr(points)
            raise InputError(sentence(f"{where}.points", "be two points", actual, "draw it again")) from error
        corners = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        objects.append(box_prompt(corners, where, shape.get("label"), None, shape.get("group_id")))
    return objects, others
