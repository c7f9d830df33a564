"""Reading and writing of one object of a prompt file; messages say which part of the file is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from mobilesam.config import ALL_MASKS
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.files import is_number, is_unicode
from mobilesam.prompts.object_prompt import MAX_STEPS, ObjectPrompt, refuse_without_object


def parse_objects(value: Any, where: str, version: int) -> tuple[ObjectPrompt, ...]:
    """Read a list of objects; ``where`` stands for it in messages.

    Raises:
        InputError: an object is not valid in this version of the file.
    """
    if not isinstance(value, list) or not value:
        raise InputError(sentence(where, "be a list of objects", shown(value), 'write [{"points": [[x, y]]}]'))
    return tuple(_object(entry, f"{where}[{index}]", version) for index, entry in enumerate(value))


def parse_marks(marks: list[Any], name: str) -> ObjectPrompt:
    """Read samexporter's list of marks. Its text marks, which are for another model, are an error.

    Raises:
        InputError: a mark is neither a point nor the only rectangle, or there are background points alone.
    """
    prompts = parse_marks_of_objects(marks, name)
    if not prompts:
        raise InputError(sentence(name, "have at least one mark", "an empty list", "add a point or a rectangle"))
    if len(prompts) > 1:
        second = [index for index, mark in enumerate(marks) if mark["type"] == "rectangle"][1]
        remedy = 'several boxes are several objects: write {"version": 1, "objects": [{"box": ...}, ...]}'
        raise InputError(sentence(name, "have one rectangle at most", f"a second one at {name}[{second}]", remedy))
    refuse_without_object(prompts[0], name)
    return prompts[0]


def parse_marks_of_objects(marks: list[Any], name: str) -> tuple[ObjectPrompt, ...]:
    """Read marks, each rectangle of which is an object with all the points; no object for no marks.

    Raises:
        InputError: a mark is neither a point nor a rectangle.
    """
    points, labels, boxes = [], [], []
    for index, mark in enumerate(marks):
        where = f"{name}[{index}]"
        refuse_unknown_keys(mark, ("type", "data", "label"), where)
        if mark.get("type") == "point":
            points.append(_numbers(mark.get("data"), f"{where}.data", (2,), "[x, y]"))
            labels.append(_label(mark.get("label", 1), where))
        elif mark.get("type") == "rectangle":
            boxes.append(_numbers(mark.get("data"), f"{where}.data", (4,), "[x1, y1, x2, y2]"))
        else:
            raise InputError(unknown_name(f"{where}.type", mark.get("type"), ("point", "rectangle")))
    if boxes:
        return tuple(_prompt(points, labels, box) for box in boxes)
    return (_prompt(points, labels, None),) if points else ()


def entry_of(prompt: ObjectPrompt) -> dict[str, Any]:
    """Return an object as JSON values.

    Raises:
        InputError: it has a ``mask_input``, which a prompt file cannot store.
    """
    if prompt.mask_input is not None:
        raise InputError(sentence("mask_input", "be None for a prompt file", "an array", "use steps instead"))
    if needs_steps(prompt):
        entry: dict[str, Any] = {"steps": [_step_entry(step) for step in (*prompt.steps, prompt)]}
    else:
        entry = _step_entry(prompt)
    return entry if prompt.label is None else entry | {"label": prompt.label}


def needs_steps(prompt: ObjectPrompt) -> bool:
    """Return whether an object must be written as steps, which version 1 does not have."""
    return bool(prompt.steps) or prompt.chosen is not None


def refuse_unknown_keys(value: Any, known: tuple[str, ...], where: str) -> None:
    """Raise InputError if a JSON value is not an object, or has a key that is not ``known``."""
    if not isinstance(value, dict):
        raise InputError(sentence(where, f"be an object with {', '.join(known)}", shown(value), "use braces"))
    for key in value:
        if key not in known:
            raise InputError(unknown_name(f"{where}: each key", key, known))


def shown(value: Any) -> str:
    """Return a JSON value as text for messages."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "values nested too deeply"
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_chosen(value: Any, where: str) -> int:
    """Read the index of a chosen mask.

    Raises:
        InputError: it is not 0, 1, 2 or 3.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value not in ALL_MASKS:
        remedy = "0 is the single-mask output, 1 to 3 are the multimask outputs"
        raise InputError(sentence(where, "be 0, 1, 2 or 3", shown(value), remedy))
    return value


def _object(value: Any, where: str, version: int) -> ObjectPrompt:
    if version == 1 and isinstance(value, dict) and "steps" in value:
        raise InputError(sentence(f"{where}.steps", "be in a file of version 2", "version 1", 'write "version": 2'))
    known = ("points", "box", "label") if version == 1 else ("points", "box", "steps", "label")
    refuse_unknown_keys(value, known, where)
    label = value.get("label")
    if "label" in value and not (isinstance(label, str) and label and is_unicode(label)):
        raise InputError(sentence(f"{where}.label", "be text", shown(label), 'write for example "label": "cat"'))
    marks = {key: value[key] for key in ("points", "box") if key in value}
    if "steps" not in value:
        return replace(_marked(marks, where), label=label)
    if marks:
        actual = f"steps and {', '.join(marks)}"
        raise InputError(sentence(where, "have either steps or points and box", actual, "move them to the last step"))
    return replace(_stepped(value["steps"], f"{where}.steps"), label=label)


def _stepped(value: Any, where: str) -> ObjectPrompt:
    """Read steps; the last one is the prompt of the object."""
    if not isinstance(value, list) or not value:
        remedy = 'write [{"points": [[x, y]], "chosen": 1}]'
        raise InputError(sentence(where, "be a list of steps", shown(value), remedy))
    if len(value) > MAX_STEPS:
        raise InputError(sentence(where, f"have at most {MAX_STEPS} steps", len(value), "remove the earliest"))
    steps: list[ObjectPrompt] = []
    for index, entry in enumerate(value):
        place = f"{where}[{index}]"
        refuse_unknown_keys(entry, ("points", "box", "chosen"), place)
        chosen = parse_chosen(entry["chosen"], f"{place}.chosen") if "chosen" in entry else None
        if chosen is None and index < len(value) - 1:
            remedy = "set it to the index of the mask that the next step refines"
            raise InputError(sentence(f"{place}.chosen", "be given in every step before the last", "none", remedy))
        steps.append(replace(_marked(entry, place, follows=bool(steps)), chosen=chosen))
    return replace(steps[-1], steps=tuple(steps[:-1]))


def _marked(value: dict[str, Any], where: str, follows: bool = False) -> ObjectPrompt:
    """Read points and a box; after another step, background points alone are allowed."""
    if not {"points", "box"} & value.keys():
        raise InputError(sentence(where, "have points, a box or both", "neither", "add one, or remove the object"))
    box = _numbers(value["box"], f"{where}.box", (4,), "[x1, y1, x2, y2]") if "box" in value else None
    rows = value.get("points", [])
    if not isinstance(rows, list) or ("points" in value and not rows):
        raise InputError(sentence(f"{where}.points", "be a list of points", shown(rows), "write [[x, y, label]]"))
    points, labels = [], []
    for index, row in enumerate(rows):
        place = f"{where}.points[{index}]"
        points.append(_numbers(row, place, (2, 3), "[x, y] or [x, y, label]"))
        labels.append(_label(row[2] if len(row) == 3 else 1, place))
    prompt = _prompt(points, labels, box)
    if not follows:
        refuse_without_object(prompt, where)
    return prompt


def _step_entry(prompt: ObjectPrompt) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if prompt.points:
        pairs = zip(prompt.points, prompt.labels, strict=True)
        entry["points"] = [[*map(_plain, point), label] for point, label in pairs]
    if prompt.box is not None:
        entry["box"] = [*map(_plain, prompt.box)]
    if prompt.chosen is not None:
        entry["chosen"] = prompt.chosen
    return entry


def _prompt(points: list[list[float]], labels: list[int], box: list[float] | None) -> ObjectPrompt:
    corners = None if box is None else (box[0], box[1], box[2], box[3])
    return ObjectPrompt(tuple((point[0], point[1]) for point in points), tuple(labels), corners)


def _label(value: Any, where: str) -> int:
    if isinstance(value, bool) or value not in (0, 1):
        raise InputError(
            sentence(f"{where}: the label", "be 1 or 0", shown(value), "use 1 for foreground, 0 for background")
        )
    return int(value)


def _numbers(value: Any, where: str, lengths: tuple[int, ...], form: str) -> list[float]:
    if not isinstance(value, list) or len(value) not in lengths:
        raise InputError(sentence(where, f"be {form}", shown(value), "use numbers, in pixels"))
    for number in value:
        if not is_number(number):
            raise InputError(sentence(where, "have finite numbers", shown(value), f"write {form}"))
    return [float(number) for number in value]


def _plain(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number
