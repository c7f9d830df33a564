"""Prompts as text: one JSON schema for one picture or many, read by the commands and written by the page.

    {"version": 1, "images": {
      "photos/cat.jpg": [{"points": [[220, 110, 1], [40, 60, 0]]},
                         {"box": [10, 20, 200, 180], "points": [[90, 90]]}]}}

Each entry of a picture's list is one object. ``points`` are [x, y] or [x, y, label], label 1 (the default) on the
object and 0 beside it; ``box`` is [x1, y1, x2, y2]; an object has either or both, in pixels of the picture as viewed.
A ``label``, text, may say what it is; it goes into the files that have a place for it.
A picture is named by its path or by the end of it ("cat.jpg"). ``"objects": [...]`` instead of ``images`` holds for
every picture.

samexporter's files are read too: a list of {"type": "point", "data": [x, y], "label": 1} and {"type": "rectangle",
"data": [x1, y1, x2, y2]} marks, all of them one object.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.reading import MAX_TEXT_BYTES, read_bytes

VERSION = 1
LARGEST = 1e9  # of a coordinate, in pixels

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ObjectPrompt:
    """What points at one object, in pixels of the original image.

    points: x y of each point. labels: 1 foreground or 0 background, one for each point. box: x1 y1 x2 y2, or None.
    label: what the object is, or None.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None
    label: str | None = None

    @property
    def ambiguous(self) -> bool:
        """Whether it is a lone point, which may mean a part or the whole: the best of three masks answers it."""
        return self.box is None and len(self.points) == 1

    def arguments(self) -> dict[str, Any]:
        """Return the prompt as arguments of ``SamPredictor.predict``."""
        return {
            "point_coords": [list(point) for point in self.points] or None,
            "point_labels": list(self.labels) or None,
            "box": None if self.box is None else list(self.box),
        }


@dataclass(frozen=True)
class PromptFile:
    """The objects of named pictures, or those of every picture; one of the two is empty."""

    images: Mapping[str, tuple[ObjectPrompt, ...]] = field(default_factory=dict)
    objects: tuple[ObjectPrompt, ...] = ()

    def for_image(self, path: str | os.PathLike[str]) -> list[ObjectPrompt]:
        """Return the objects of a picture, found by its path or by the longest end of it that is named.

        Raises:
            InputError: the file names pictures, and not this one.
        """
        if not self.images:
            return list(self.objects)
        name = self.name_of(path)
        if name is not None:
            return list(self.images[name])
        near = difflib.get_close_matches(Path(path).name, self.images, n=1) or [next(iter(self.images))]
        remedy = f"it names {len(self.images)} others, such as {near[0]!r}"
        raise InputError(sentence("prompt file", "name the picture", f"{str(path)!r}, which it does not name", remedy))

    def name_of(self, path: str | os.PathLike[str]) -> str | None:
        """Return the name of a picture here, its path or the longest end of it, or None."""
        if str(path) in self.images:
            return str(path)
        parts = Path(path).absolute().parts
        ends = (Path(*parts[start:]).as_posix() for start in range(len(parts)))
        return next((self._names[end] for end in ends if end in self._names), None)

    @cached_property
    def _names(self) -> dict[str, str]:
        """The names of the pictures, by their text with slashes."""
        return {Path(name).as_posix(): name for name in self.images}


def group(points: Iterable[Sequence[float]], boxes: Iterable[Sequence[float]]) -> list[ObjectPrompt]:
    """Return the objects that loose marks mean: all points are one object, each box is one; both only with one box.

    Args:
        points: x y label of each point. boxes: x1 y1 x2 y2 of each box.

    Raises:
        InputError: there are points and several boxes.
    """
    coords, labels = [], []
    for x, y, label in points:
        coords.append((float(x), float(y)))
        labels.append(int(label))
    corners = [(float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in boxes]
    if coords and len(corners) > 1:
        remedy = "put each box and its points into an object of a prompt file"
        raise InputError(sentence("points", "come with one box at most", f"{len(corners)} boxes", remedy))
    if coords:
        return [ObjectPrompt(tuple(coords), tuple(labels), corners[0] if corners else None)]
    return [ObjectPrompt(box=box) for box in corners]


def read_prompts(path: str | os.PathLike[str]) -> PromptFile:
    """Read a prompt file.

    Raises:
        InputError: the file cannot be read, or its content is not as the module describes.
    """
    try:
        text = read_bytes(Path(path), MAX_TEXT_BYTES).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(sentence("prompt file", "exist", path, "check the path")) from error
    except OSError as error:
        raise InputError(sentence("prompt file", "be readable", f"{path} ({error.strerror})", "check it")) from error
    except UnicodeDecodeError as error:
        raise InputError(sentence("prompt file", "be UTF-8 text", f"{path} ({error})", "save it as JSON")) from error
    return parse_prompts(text, str(path))


def parse_prompts(text: str, name: str = "prompts") -> PromptFile:
    """Read prompts from JSON text; ``name`` is what messages call it.

    Raises:
        InputError: the text is not as the module describes; the message says where.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        actual = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise InputError(sentence(name, "be JSON", actual, "correct it there")) from error
    except InputError:  # a ValueError too, from _unique
        raise
    except (RecursionError, ValueError) as error:
        raise InputError(sentence(name, "be a prompt file", f"JSON beyond limits ({error})", "shorten it")) from error
    if isinstance(document, list):
        return PromptFile(objects=(_marks(document, name),))
    _keys(document, ("version", "images", "objects"), name)
    if document.get("version") != VERSION or isinstance(document.get("version"), bool):
        actual = repr(document["version"]) if "version" in document else "none"
        raise InputError(sentence(f"{name}: version", f"be {VERSION}", actual, f'write "version": {VERSION}'))
    if ("images" in document) == ("objects" in document):
        actual = "both" if "images" in document else "neither"
        remedy = "images names pictures, objects holds for every picture"
        raise InputError(sentence(name, "have either images or objects", actual, remedy))
    if "objects" in document:
        return PromptFile(objects=_objects(document["objects"], f"{name}: objects"))
    if not isinstance(document["images"], dict) or not document["images"]:
        actual = _shown(document["images"])
        raise InputError(sentence(f"{name}: images", "map picture names to lists of objects", actual, "name one"))
    return PromptFile({key: _objects(value, f"{name}: images[{key!r}]") for key, value in document["images"].items()})


def dump(prompts: PromptFile) -> str:
    """Return a prompt file's text, one object a line; :func:`parse_prompts` reads it back."""
    if not prompts.images:
        return f'{{"version": {VERSION}, "objects": {_dump_objects(prompts.objects)}}}\n'
    images = ",\n".join(f"{json.dumps(name)}: {_dump_objects(objects)}" for name, objects in prompts.images.items())
    return f'{{"version": {VERSION}, "images": {{\n{images}\n}}}}\n'


def _dump_objects(objects: Iterable[ObjectPrompt]) -> str:
    lines = []
    for prompt in objects:
        entry: dict[str, Any] = {}
        if prompt.points:
            pairs = zip(prompt.points, prompt.labels, strict=True)
            entry["points"] = [[*map(_plain, point), label] for point, label in pairs]
        if prompt.box is not None:
            entry["box"] = [*map(_plain, prompt.box)]
        if prompt.label is not None:
            entry["label"] = prompt.label
        lines.append(f"  {json.dumps(entry)}")
    return "[\n" + ",\n".join(lines) + "\n]"


def _objects(value: Any, where: str) -> tuple[ObjectPrompt, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(sentence(where, "be a list of objects", _shown(value), 'write [{"points": [[x, y]]}]'))
    return tuple(_object(entry, f"{where}[{index}]") for index, entry in enumerate(value))


def _object(value: Any, where: str) -> ObjectPrompt:
    _keys(value, ("points", "box", "label"), where)
    if not {"points", "box"} & value.keys():
        raise InputError(sentence(where, "have points, a box or both", "neither", "add one, or remove the object"))
    box = _numbers(value["box"], f"{where}.box", (4,), "[x1, y1, x2, y2]") if "box" in value else None
    rows = value.get("points", [])
    if not isinstance(rows, list) or ("points" in value and not rows):
        raise InputError(sentence(f"{where}.points", "be a list of points", _shown(rows), "write [[x, y, label]]"))
    points, labels = [], []
    for index, row in enumerate(rows):
        place = f"{where}.points[{index}]"
        points.append(_numbers(row, place, (2, 3), "[x, y] or [x, y, label]"))
        labels.append(_label(row[2] if len(row) == 3 else 1, place))
    label = value.get("label")
    if "label" in value and (not isinstance(label, str) or not label):
        raise InputError(sentence(f"{where}.label", "be text", _shown(label), 'write for example "label": "cat"'))
    return replace(_one(points, labels, box), label=label)


def _marks(marks: list[Any], name: str) -> ObjectPrompt:
    """Read samexporter's list; its text marks, meant for another model, are refused rather than dropped."""
    points, labels, box = [], [], None
    for index, mark in enumerate(marks):
        where = f"{name}[{index}]"
        _keys(mark, ("type", "data", "label"), where)
        if mark.get("type") == "point":
            points.append(_numbers(mark.get("data"), f"{where}.data", (2,), "[x, y]"))
            labels.append(_label(mark.get("label", 1), where))
        elif mark.get("type") == "rectangle" and box is None:
            box = _numbers(mark.get("data"), f"{where}.data", (4,), "[x1, y1, x2, y2]")
        elif mark.get("type") == "rectangle":
            remedy = 'several boxes are several objects: write {"version": 1, "objects": [{"box": ...}, ...]}'
            raise InputError(sentence(where, "not be a second rectangle", "one", remedy))
        else:
            raise InputError(unknown_name(f"{where}.type", mark.get("type"), ("point", "rectangle")))
    if not marks:
        raise InputError(sentence(name, "hold at least one mark", "an empty list", "add a point or a rectangle"))
    return _one(points, labels, box)


def _one(points: list[list[float]], labels: list[int], box: list[float] | None) -> ObjectPrompt:
    corners = None if box is None else (box[0], box[1], box[2], box[3])
    return ObjectPrompt(tuple((point[0], point[1]) for point in points), tuple(labels), corners)


def _label(value: Any, where: str) -> int:
    if isinstance(value, bool) or value not in (0, 1):
        raise InputError(sentence(f"{where}: the label", "be 1 or 0", _shown(value), "1 lies on the object"))
    return int(value)


def _numbers(value: Any, where: str, lengths: tuple[int, ...], form: str) -> list[float]:
    if not isinstance(value, list) or len(value) not in lengths:
        raise InputError(sentence(where, f"be {form}", _shown(value), "give numbers, in pixels"))
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < LARGEST:
            raise InputError(sentence(where, "hold finite numbers", _shown(value), f"write {form}"))
    return [float(number) for number in value]


def _keys(value: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(value, dict):
        raise InputError(sentence(where, f"be an object with {', '.join(known)}", _shown(value), "put it into braces"))
    for key in value:
        if key not in known:
            raise InputError(unknown_name(f"{where}: each key", key, known))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(sentence(f"prompts: {twice!r}", "be written once", "it twice", "join the two entries"))
    return document


def _plain(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
