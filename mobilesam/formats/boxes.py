"""The boxes of a detector or of a data set, one by one, as prompts."""

from __future__ import annotations

import contextlib
import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_TEXT_BYTES, is_number, is_unicode, parse_json, read_bytes
from mobilesam.formats.coco_document import is_bbox
from mobilesam.prompts.file import ObjectPrompt, Problem, PromptFile


class Ids(NamedTuple):
    """The ids of images and of categories by their names."""

    images: Mapping[str, int]
    categories: Mapping[str, int]


class Boxes:
    """The boxes of named images, and what is wrong with the entries that cannot be used.

    Args:
        files: that are read.
        images: names of images that may have no box.
        labels: of a dataset, in their order.
    """

    def __init__(self, *files: Path, images: Iterable[str] = (), labels: Iterable[str] = ()) -> None:
        self.objects: dict[str, list[ObjectPrompt]] = {name: [] for name in images}
        self._files, self._labels = files, tuple(dict.fromkeys(labels))
        self._problems: list[Problem] = []

    def add(self, image: str, prompt: ObjectPrompt) -> None:
        """Add a prompt of an image."""
        self.objects.setdefault(image, []).append(prompt)

    @contextlib.contextmanager
    def entry(self, score: Any = None) -> Iterator[None]:
        """Within the context, an InputError leaves an entry out; ``score`` is the entry's, as it was read."""
        try:
            yield
        except InputError as error:
            self._problems.append(Problem(str(error), float(score) if is_number(score) else None))

    def prompts(self, *, by_stem: bool, ids: Ids | None = None) -> PromptFile:
        """Return the boxes as prompts; ``by_stem`` as in PromptFile.

        Raises:
            InputError: no entry can be used, or there is none and no image.
        """
        objects = {name: tuple(of_image) for name, of_image in self.objects.items()}
        if self._problems and not any(objects.values()):
            raise InputError(self._problems[0].text)
        if not objects:
            raise InputError(sentence("prompts", "name an image", "none", "give a file with at least one box"))
        images, categories = ids or Ids({}, {})
        return PromptFile(
            objects,
            by_stem=by_stem,
            problems=tuple(self._problems),
            labels=self._labels,
            category_ids=categories,
            image_ids=images,
            files=self._files,
        )


def detection(
    entry: Mapping[str, Any], where: str, categories: Mapping[str, str] | None, place: int | None = None
) -> ObjectPrompt:
    """Return the prompt of an entry of a COCO file or results list.

    Args:
        categories: the names of the dataset's categories by their ids as text; None if there is no dataset.
        place: the ``detection_id`` of an entry without an id.

    Raises:
        InputError: the box, the score, the category or the id cannot be used.
    """
    if not is_bbox(entry.get("bbox")):
        requirement, actual = "be numbers [x, y, width, height]", reprlib.repr(entry.get("bbox"))
        raise InputError(sentence(f"{where}: bbox", requirement, actual, "correct the entry"))
    x, y, width, height = map(float, entry["bbox"])
    label, category = entry.get("category_name"), entry.get("category_id")
    if label is None and category is not None:
        label = category if not categories else categories.get(id_text(category))
        if label is None:
            requirement, actual = "be a category of the dataset", reprlib.repr(category)
            raise InputError(sentence(f"{where}: category_id", requirement, actual, "correct the entry or the dataset"))
    label = id_text(label) if isinstance(label, int | float) else label
    number = place if entry.get("id") is None else entry["id"]
    return box_prompt((x, y, x + width, y + height), where, label, entry.get("score"), number)


def box_prompt(box: Sequence[float], where: str, label: Any, score: Any, number: Any = None) -> ObjectPrompt:
    """Return the prompt of a box, x1 y1 x2 y2, which must have an area."""
    x1, y1, x2, y2 = box
    if not (all(map(is_number, box)) and x1 < x2 and y1 < y2):
        actual = f"x1 {x1:g}, y1 {y1:g}, x2 {x2:g}, y2 {y2:g}"
        raise InputError(sentence(f"{where}: the box", "have a width and a height", actual, "correct the entry"))
    if score is not None and not is_number(score):
        raise InputError(sentence(f"{where}: the score", "be a number", reprlib.repr(score), "correct the entry"))
    for name, value in (("label", label), ("id", number)):
        known = isinstance(value, int | float | str | None) and not isinstance(value, bool)
        if not known or not is_unicode(str(value)):
            raise InputError(sentence(f"{where}: the {name}", "be text or a number", reprlib.repr(value), "correct it"))
    return ObjectPrompt(
        box=(x1, y1, x2, y2),
        label=None if label is None or label == "" else str(label),
        score=None if score is None else float(score),
        detection_id=id_text(number) if isinstance(number, float) else number,
        origin=where,
    )


def id_text(value: Any) -> str:
    """Return an id as text, so that 7, 7.0 and "7" are the same."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


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
