"""Folders of boxes as prompts: YOLO's text files and labelme's JSON files, one for each image."""

from __future__ import annotations

import itertools
import reprlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from mobilesam.errors import FormatLossWarning, InputError, sentence
from mobilesam.files import is_number
from mobilesam.formats.boxes import Boxes, Ids, box_prompt, number_of, read_json, read_text
from mobilesam.prompts.file import ObjectPrompt, PromptFile

NAMES_FILES = ("data.yaml", "dataset.yaml", "classes.txt")
_FOLDERS_ABOVE = 3  # in which the names of classes are searched, as in labels/train
_SLACK = 0.1  # of normalized boxes beyond the image


def read_folder(folder: Path) -> PromptFile:
    """Return the boxes of a folder of YOLO's text files or of labelme's JSON files, one for each image.

    Subfolders are read too. An image belongs to the file of the same name. Lines and shapes that are not valid are
    among the problems of the result.

    Raises:
        InputError: the folder has neither or both, or nothing in it is valid.
    """
    texts = sorted(path for path in folder.rglob("*.txt") if path.name not in NAMES_FILES)
    documents = sorted(folder.rglob("*.json"))
    if bool(texts) == bool(documents):
        actual = f"{folder} with {'both' if texts else 'neither'}"
        remedy = "give a folder of one kind"
        raise InputError(sentence("prompts", "be a folder of YOLO's .txt or labelme's .json files", actual, remedy))
    stems = [path.stem for path in texts or documents]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise InputError(sentence(f"{folder}: {twice!r}", "be the name of one file", "several", "give one subfolder"))
    return _yolo_folder(texts, *class_names(folder)) if texts else _labelme_folder(folder, documents)


def _yolo_folder(texts: Sequence[Path], names: Mapping[int, str], files: Sequence[Path]) -> PromptFile:
    boxes = Boxes(*texts, *files, images=[path.stem for path in texts])
    for path in texts:
        with boxes.entry():
            for place, line in enumerate(read_text(path).splitlines(), start=1):
                if line.strip():
                    with boxes.entry():
                        boxes.add(path.stem, _yolo_prompt(line.split(), f"{path} line {place}", names))
    prompts = boxes.prompts(by_stem=True, ids=Ids({}, {name: number for number, name in names.items()}))
    return replace(prompts, labels=labels_in_order(names))


def _yolo_prompt(fields: Sequence[str], where: str, names: Mapping[int, str]) -> ObjectPrompt:
    """Return the prompt of a line: class cx cy w h [score [id]], or class and a polygon [score]."""
    count = len(fields)
    number, *values = (number_of(word, where) for word in fields)
    # Seven fields are a triangle, too; those of Ultralytics' trackers end with a whole number.
    is_box = count in (5, 6) or (count == 7 and values[5].is_integer() and 0 <= values[4] <= 1)
    if not is_box and count < 7:
        requirement = "have a class, x, y, width and height, or a polygon"
        raise InputError(sentence(where, requirement, f"{count} fields", "correct the line"))
    placed = values[:4] if is_box else values[: len(values) // 2 * 2]
    score, identity = None, None
    if is_box and count > 5:
        score, identity = (None, values[4]) if count == 6 and values[4] > 1 else (values[4], None)
        identity = values[5] if count == 7 else identity
    elif len(values) % 2:
        score = values[-1]
    if score is not None and not 0 <= score <= 1:
        raise InputError(sentence(f"{where}: the score", "be in 0..1", f"{score:g}", "correct the line"))
    if not all(-_SLACK <= value <= 1 + _SLACK for value in placed):
        remedy = "divide x by the width and y by the height"
        raise InputError(sentence(where, "have coordinates in 0..1", reprlib.repr(placed), remedy))
    if is_box:
        x, y, width, height = placed
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    else:
        box = (min(placed[::2]), min(placed[1::2]), max(placed[::2]), max(placed[1::2]))
    if number < 0 or not number.is_integer():
        requirement, actual = "be a whole number from 0", fields[0]
        raise InputError(sentence(f"{where}: the class", requirement, actual, "correct the line"))
    label = names.get(int(number), f"{int(number)}")
    return replace(box_prompt(box, where, label, score, identity), normalized=True)


def class_names(folder: Path) -> tuple[dict[int, str], list[Path]]:
    """Return the names of YOLO's classes by number, from the nearest file of names, and that file.

    folder: of the labels, or the file of names itself.
    """
    above = [folder, *itertools.islice(folder.absolute().parents, _FOLDERS_ABOVE)]
    for path in [folder, *(place / name for place in above for name in NAMES_FILES)]:
        if path.is_file():
            text = read_text(path)
            if path.suffix == ".txt":
                return dict(enumerate(map(str.strip, text.rstrip().splitlines()))), [path]
            names = _names_in_yaml(text, path)
            if names:
                return names, [path]
    message = f"there is no {', '.join(NAMES_FILES)} near {folder}, so that the classes are called by their numbers"
    warnings.warn(message, FormatLossWarning, stacklevel=3)
    return {}, []


def labels_in_order(names: Mapping[int, str]) -> tuple[str, ...]:
    """Return the names of classes in the order of their numbers; a class without a name is called by its number."""
    return tuple(names.get(number, str(number)) for number in range(max(names, default=-1) + 1))


def _names_in_yaml(text: str, path: Path) -> dict[int, str]:
    """Return the entry ``names`` of YOLO's YAML: a list, or a mapping from numbers."""
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(sentence(str(path), "be YAML", str(error).splitlines()[0], "correct it")) from error
    names = content.get("names") if isinstance(content, dict) else None
    if names is None:
        return {}
    table = dict(enumerate(names)) if isinstance(names, list) else names
    known = isinstance(table, dict) and all(
        isinstance(number, int) and 0 <= number < 100_000 and isinstance(name, str | int | float)
        for number, name in table.items()
    )
    if not known:
        requirement, actual = "be a list or a mapping from numbers", reprlib.repr(names)
        raise InputError(sentence(f"{path}: names", requirement, actual, "correct it"))
    return {number: str(name) for number, name in table.items()}


def _labelme_folder(folder: Path, documents: Sequence[Path]) -> PromptFile:
    boxes, others = Boxes(*documents, images=[path.stem for path in documents]), 0
    for path in documents:
        with boxes.entry():
            content = read_json(path)
            shapes = content.get("shapes") if isinstance(content, dict) else None
            if not isinstance(shapes, list):
                requirement, remedy = "be labelme's JSON", "save it with labelme again"
                raise InputError(sentence(str(path), requirement, "no list 'shapes'", remedy))
            parts: dict[Any, int] = {}  # the places of objects of several polygons, by their group_id
            for place, shape in enumerate(shapes):
                with boxes.entry():
                    prompt = _labelme_prompt(shape, f"{path}: shapes[{place}]")
                    others += prompt is None
                    if prompt is None:
                        continue
                    objects, key = boxes.objects[path.stem], prompt.detection_id
                    if shape["shape_type"] == "polygon" and key is not None and key in parts:
                        objects[parts[key]] = _joined(objects[parts[key]], prompt)
                        continue
                    if shape["shape_type"] == "polygon":
                        parts[key] = len(objects)
                    boxes.add(path.stem, prompt)
    if others:
        message = f"{folder} has {others} shapes that are neither rectangles nor polygons; they are left out"
        warnings.warn(message, FormatLossWarning, stacklevel=3)
    return boxes.prompts(by_stem=True)


def _labelme_prompt(shape: Any, where: str) -> ObjectPrompt | None:
    """Return the prompt of a rectangle, of two or of four corners, or of the box of a polygon; None for others."""
    if not isinstance(shape, dict) or shape.get("shape_type") not in ("rectangle", "polygon"):
        return None
    points: Any = shape.get("points")
    is_pairs = isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point)) for point in points
    )
    if not is_pairs or len(points) < 2:
        requirement, actual = "be two or more points", reprlib.repr(points)
        raise InputError(sentence(f"{where}.points", requirement, actual, "draw it again"))
    x, y = zip(*points, strict=True)
    return box_prompt((min(x), min(y), max(x), max(y)), where, shape.get("label"), None, shape.get("group_id"))


def _joined(one: ObjectPrompt, other: ObjectPrompt) -> ObjectPrompt:
    """Return the prompt of an object of two parts."""
    pairs = list(zip(one.box or (), other.box or (), strict=True))
    return replace(one, box=(min(pairs[0]), min(pairs[1]), max(pairs[2]), max(pairs[3])))
