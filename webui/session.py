"""The state of a session as an immutable value, and the actions that change it.

An action is a small JSON object, as the page sends it: ``{"do": "point", "x": 220, "y": 110, "label": 1}``,
``{"do": "box", "box": [10, 20, 200, 180]}``, ``undo``, ``redo``, ``clear``, ``{"do": "choose", "index": 2}``, and
``{"do": "restore", "points": [[x, y, label]], "box": null}`` with the ``steps`` and the ``chosen`` mask of a prompt
file of version 2. Coordinates are pixels of the original image.

When a mask is chosen, the next mark turns the prompt into a step, and the logits of the chosen mask are fed back.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeGuard

from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.prompts.object_prompt import MAX_STEPS, Box, ObjectPrompt, refuse_without_object
from mobilesam.prompts.schema import parse_chosen
from mobilesam.segment import Candidates
from mobilesam.webui.sizes import size_of

if TYPE_CHECKING:
    from mobilesam.masks.records import MaskRecord

MAX_POINTS = 256  # the time of a decoder call grows with its points
MAX_UNDO = 512
MAX_UNDO_BYTES = 2_000_000

NOTHING = ObjectPrompt()


@dataclass(frozen=True)
class ShownImage:
    """An open image.

    digest: sha256 of the pixels, the key of everything computed from them. hw: (height, width). name: of the file.
    note: a remark for the user on how the file was read.
    """

    digest: str
    hw: tuple[int, int]
    name: str
    note: str = ""

    @property
    def key(self) -> str:
        """The name of the image in requests; it tells a click on an earlier image from a click on this one."""
        return self.digest[:16]


@dataclass(frozen=True, eq=False)
class CandidateMasks:
    """The candidate masks of a prompt; ``masks.best`` is used unless another is chosen.

    input_hw: as in Embedding. decode_ms: the time of the decoder, milliseconds.
    """

    masks: Candidates
    input_hw: tuple[int, int]
    decode_ms: float = 0.0


@dataclass(frozen=True)
class Session:
    """The state of a session.

    model: the name of the model in use. prompt: with the chosen mask and the steps before it. past, future: earlier
    and undone prompts, the nearest last. candidates: of ``prompt``, None until they are decoded. segments: the result
    of everything mode, with COCO run lengths. run: the number of that run.
    """

    model: str
    image: ShownImage | None = None
    prompt: ObjectPrompt = NOTHING
    past: tuple[ObjectPrompt, ...] = ()
    future: tuple[ObjectPrompt, ...] = ()
    candidates: CandidateMasks | None = field(default=None, compare=False)
    segments: tuple[MaskRecord, ...] = field(default=(), compare=False)
    run: int = field(default=0, compare=False)

    @property
    def chosen(self) -> int:
        """The position of the mask in use among the candidates."""
        return 0 if self.candidates is None else self.candidates.masks.place_of(self.prompt.chosen)


def opened(session: Session, image: ShownImage) -> Session:
    """Return a new state with an image; opening the same image again keeps the prompts."""
    if session.image is not None and session.image.digest == image.digest:
        return replace(session, image=image)
    return Session(session.model, image)


def open_image(session: Session) -> ShownImage:
    """Return the image of a session.

    Raises:
        InputError: no image is open.
    """
    if session.image is None:
        raise InputError("No image is open. Open one first.")
    return session.image


def with_model(session: Session, model: str) -> Session:
    """Return the state with another model, whose masks are not decoded yet."""
    return replace(session, model=model, candidates=None)


def steps_to(prompt: ObjectPrompt) -> tuple[ObjectPrompt, ...]:
    """Return the steps of the prompt that follows: the steps of this one, and itself if a mask was chosen."""
    return prompt.steps if prompt.chosen is None else (*prompt.steps, replace(prompt, steps=()))


def apply(session: Session, action: Any) -> Session:
    """Return the state after an action.

    Raises:
        InputError: no image is open, or the action is not one of those in the description of the module.
    """
    hw = open_image(session).hw
    if not isinstance(action, Mapping):
        raise InputError(sentence("an action", "be an object", type(action).__name__, 'write {"do": "undo"}'))
    do, past, future = action.get("do"), session.past, session.future
    if do == "point":
        return _marked(session, _with_point(_following(session.prompt), action, hw))
    if do == "box":
        box = box_of(action.get("box"), hw)
        return session if box == session.prompt.box else _marked(session, replace(_following(session.prompt), box=box))
    if do == "restore":
        return _marked(session, _restored(action, hw))
    if do == "clear":
        return _marked(session, NOTHING)
    if do == "undo":
        undone = (*future, session.prompt)
        return replace(session, prompt=past[-1], past=past[:-1], future=undone, candidates=None) if past else session
    if do == "redo":
        done = (*past, session.prompt)
        return (
            replace(session, prompt=future[-1], past=done, future=future[:-1], candidates=None) if future else session
        )
    if do == "choose":
        return _choose(session, action.get("index"))
    raise InputError(unknown_name("do", do, ("point", "box", "undo", "redo", "clear", "choose", "restore")))


def trimmed(session: Session) -> Session:
    """Drop the prompts farthest from the current one if past and future together exceed MAX_UNDO_BYTES."""
    sides = session.past, session.future
    order = sorted((distance, side) for side in range(2) for distance in range(len(sides[side])))
    seen: set[int] = set()
    sizes = (size_of(sides[side][-1 - distance], seen) for distance, side in order)
    kept = sum(total <= MAX_UNDO_BYTES for total in itertools.accumulate(sizes))
    if kept == len(order):
        return session
    after = sum(side for _, side in order[:kept])
    past, future = (side[len(side) - count :] for side, count in zip(sides, (kept - after, after), strict=True))
    return replace(session, past=past, future=future)


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


def _marked(session: Session, prompt: ObjectPrompt) -> Session:
    if prompt == session.prompt:
        return session
    past = (*session.past, session.prompt)[-MAX_UNDO:]
    return replace(session, prompt=prompt, past=past, future=(), candidates=None)


def _choose(session: Session, index: Any) -> Session:
    indices = session.candidates.masks.indices if session.candidates else ()
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(indices):
        requirement = f"be the index of one of {len(indices)} masks"
        raise InputError(sentence("index", requirement, repr(index), "click the object first"))
    if indices[index] == session.prompt.chosen:
        return session
    # The undone prompts followed from another choice.
    return replace(session, prompt=replace(session.prompt, chosen=indices[index]), future=())


def _following(prompt: ObjectPrompt) -> ObjectPrompt:
    """Return the prompt that the next mark is added to: a prompt with a chosen mask becomes a step."""
    steps = steps_to(prompt)
    if len(steps) >= MAX_STEPS:
        remedy = "undo some, or clear the prompt"
        raise InputError(sentence("chosen masks", f"be at most {MAX_STEPS - 1}", len(steps), remedy))
    return replace(prompt, steps=steps, chosen=None)


def _restored(action: Mapping[str, Any], hw: tuple[int, int]) -> ObjectPrompt:
    """Return a prompt with its steps from the form that :func:`mobilesam.webui.view.prompt_view` writes."""
    steps = action.get("steps", [])
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
    chosen = None if action.get("chosen") is None else parse_chosen(action["chosen"], "chosen")
    return replace(prompt_of(action.get("points"), action.get("box"), hw), steps=tuple(read), chosen=chosen)


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
