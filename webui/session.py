"""The state of a session as an immutable value, and prompts as the page sends them.

The page has the prompt, the objects and what can be undone; a session has what it takes to decode them: the image, the
model, and the segments of everything mode. Coordinates are pixels of the original image.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeGuard

from mobilesam.errors import InputError, sentence
from mobilesam.prompts.object_prompt import MAX_STEPS, Box, ObjectPrompt, refuse_without_object
from mobilesam.prompts.schema import parse_chosen
from mobilesam.serve.requests import MAX_POINTS
from mobilesam.serve.values import OpenImage

if TYPE_CHECKING:
    from mobilesam.masks.records import MaskRecord

NOTHING = ObjectPrompt()


@dataclass(frozen=True)
class Session:
    """The state of a session.

    model: the name of the model in use. segments: the result of everything mode, with COCO run lengths. run: the number
    of that run.
    """

    model: str
    image: OpenImage | None = None
    segments: tuple[MaskRecord, ...] = field(default=(), compare=False)
    run: int = field(default=0, compare=False)


def opened(session: Session, image: OpenImage) -> Session:
    """Return the state with an image; that of an earlier image is dropped."""
    if session.image is not None and session.image.digest == image.digest:
        return replace(session, image=image)
    return Session(session.model, image)


def open_image(session: Session) -> OpenImage:
    """Return the image of a session.

    Raises:
        InputError: no image is open.
    """
    if session.image is None:
        raise InputError("No image is open. Open one first.")
    return session.image


def prompt_of(points: Any, box: Any, hw: tuple[int, int]) -> ObjectPrompt:
    """Return a prompt from points, [[x, y, label]] or None, and a box, [x1, y1, x2, y2] or None.

    Raises:
        InputError: one has another form, or lies outside the image.
    """
    if not isinstance(points, list | None):
        raise InputError(sentence("points", "be a list", type(points).__name__, "write [[x, y, label]]"))
    prompt = ObjectPrompt(box=None if box is None else box_of(box, hw))
    for point in points or []:
        if not isinstance(point, list) or len(point) != 3:
            raise InputError(sentence("each point", "be [x, y, label]", repr(point), "label 1 marks the object"))
        prompt = _with_point(prompt, dict(zip(("x", "y", "label"), point, strict=True)), hw)
    return prompt


def box_of(value: Any, hw: tuple[int, int]) -> Box:
    """Return a box with its corners in order.

    Raises:
        InputError: it is not four numbers, has no area, or extends beyond the image.
    """
    if not isinstance(value, list | tuple) or len(value) != 4 or not all(map(_is_number, value)):
        raise InputError(sentence("box", "be [x1, y1, x2, y2]", repr(value), "give four numbers, in pixels"))
    x1, x2 = sorted((float(value[0]), float(value[2])))
    y1, y2 = sorted((float(value[1]), float(value[3])))
    if x1 == x2 or y1 == y2:
        raise InputError(sentence("box", "have an area", repr(list(value)), "drag further, or click for a point"))
    if not (x1 >= 0 and y1 >= 0 and x2 <= hw[1] and y2 <= hw[0]):
        raise InputError(sentence("box", f"lie in the image, {hw[1]} x {hw[0]}", repr(list(value)), "drag inside it"))
    return x1, y1, x2, y2


def read_prompt(value: Any, hw: tuple[int, int]) -> ObjectPrompt:
    """Return a prompt in the form that the page sends.

    Args:
        value: ``{"points": [[x, y, label]], "box": [x1, y1, x2, y2] or null}``, and for a refined mask ``steps``, the
            earlier prompts of the object with the mask chosen in each, and ``chosen``, the decoder's index of a mask.
        hw: (height, width) of the image.

    Raises:
        InputError: it has another form, or lies outside the image.
    """
    if not isinstance(value, Mapping):
        raise InputError(sentence("prompt", "be an object", type(value).__name__, 'write {"points": [[x, y, 1]]}'))
    steps = value.get("steps", [])
    if not isinstance(steps, list) or len(steps) >= MAX_STEPS:
        actual = len(steps) if isinstance(steps, list) else type(steps).__name__
        raise InputError(sentence("steps", f"be a list of at most {MAX_STEPS - 1}", actual, "leave out the earliest"))
    read = []
    for step in steps:
        if not isinstance(step, Mapping):
            raise InputError(sentence("each step", "be an object", type(step).__name__, 'write {"points": ...}'))
        marks = prompt_of(step.get("points"), step.get("box"), hw)
        read.append(replace(marks, chosen=parse_chosen(step.get("chosen"), "chosen")))
    if read:
        refuse_without_object(read[0], "the first step")
    chosen = None if value.get("chosen") is None else parse_chosen(value["chosen"], "chosen")
    return replace(prompt_of(value.get("points"), value.get("box"), hw), steps=tuple(read), chosen=chosen)


def _with_point(prompt: ObjectPrompt, point: Mapping[str, Any], hw: tuple[int, int]) -> ObjectPrompt:
    x, y, label = point.get("x"), point.get("y"), point.get("label", 1)
    if not (_is_number(x) and _is_number(y)):
        raise InputError(sentence("a point", "have numbers x and y", f"{x!r}, {y!r}", "give pixels of the image"))
    if label not in (0, 1) or isinstance(label, bool):
        raise InputError(sentence("label", "be 1 or 0", repr(label), "1 marks the object, 0 the background"))
    if not (0 <= x < hw[1] and 0 <= y < hw[0]):
        requirement = f"lie in the image, {hw[1]} x {hw[0]}"
        raise InputError(sentence("a point", requirement, f"{x:g}, {y:g}", "click inside it"))
    count = len(prompt.points) + 1
    if count > MAX_POINTS:
        raise InputError(sentence("points", f"be at most {MAX_POINTS}", count, "undo some, or draw a box"))
    return replace(prompt, points=(*prompt.points, (float(x), float(y))), labels=(*prompt.labels, int(label)))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
