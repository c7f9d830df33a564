"""What one visitor has done, as an immutable value, and what each action makes of it.

An action is a small JSON object, as the page sends it: ``{"do": "point", "x": 220, "y": 110, "label": 1}``,
``{"do": "box", "box": [10, 20, 200, 180]}``, ``undo``, ``redo``, ``clear``, ``{"do": "choose", "index": 2}``, and
``{"do": "restore", "points": [[x, y, label]], "box": null}`` with the ``steps`` and the ``chosen`` mask of a prompt
file of version 2. Coordinates are pixels of the original picture.

A mask that is chosen stays chosen: the next mark makes the prompt so far a step, whose chosen mask is fed back.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeGuard

from mobilesam.arrays import FloatArray
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.prompts.object_prompt import MAX_STEPS, Box, ObjectPrompt, refuse_without_object
from mobilesam.prompts.schema import parse_chosen
from mobilesam.webui.sizes import size_of

if TYPE_CHECKING:
    from mobilesam.masks.records import MaskRecord

MAX_POINTS = 256  # a decoder call grows with its points; nobody needs more on one object
MAX_UNDO = 512
MAX_UNDO_BYTES = 2_000_000

NOTHING = ObjectPrompt()


@dataclass(frozen=True)
class ShownImage:
    """A picture that is open.

    digest: sha256 of its pixels, the key of everything computed from them. hw: (height, width). name: of the file.
    note: what its visitor should know of how it was read.
    """

    digest: str
    hw: tuple[int, int]
    name: str
    note: str = ""

    @property
    def key(self) -> str:
        """What the page names it by, so that a click on an earlier picture is told from one on this."""
        return self.digest[:16]


@dataclass(frozen=True, eq=False)
class Answer:
    """The candidate masks that the model gives for a prompt, C of them.

    low_res_logits: (C, 256, 256) float32. scores: (C,) the IoU it predicts. input_hw: as in Embedding. indices: (C,)
    the decoder's own index of each mask. best: the place among them of the mask that counts unless another is chosen.
    decode_ms: the model's time.
    """

    low_res_logits: FloatArray
    scores: tuple[float, ...]
    input_hw: tuple[int, int]
    indices: tuple[int, ...]
    best: int = 0
    decode_ms: float = 0.0


@dataclass(frozen=True)
class Session:
    """One visitor's state.

    model: the name of the model in use. prompt: with the mask chosen, and the steps before it. past, future: earlier
    and undone prompts, the nearest last. answer: to ``prompt``, or None until the model is asked. segments: what
    everything mode found, with COCO run lengths. run: the number of that run.
    """

    model: str
    image: ShownImage | None = None
    prompt: ObjectPrompt = NOTHING
    past: tuple[ObjectPrompt, ...] = ()
    future: tuple[ObjectPrompt, ...] = ()
    answer: Answer | None = field(default=None, compare=False)
    segments: tuple[MaskRecord, ...] = field(default=(), compare=False)
    run: int = field(default=0, compare=False)

    @property
    def chosen(self) -> int:
        """The place of the mask that counts among those of the answer."""
        if self.answer is None:
            return 0
        return self.answer.best if self.prompt.chosen is None else self.answer.indices.index(self.prompt.chosen)


def opened(session: Session, image: ShownImage) -> Session:
    """Begin anew with a picture; the same picture again keeps the prompts."""
    if session.image is not None and session.image.digest == image.digest:
        return replace(session, image=image)
    return Session(session.model, image)


def with_model(session: Session, model: str) -> Session:
    """Let another model answer the same prompt, and follow the same steps."""
    return replace(session, model=model, answer=None)


def answered(session: Session, answer: Answer) -> Session:
    """Take the model's answer to the prompt."""
    return replace(session, answer=answer)


def without_steps(session: Session) -> Session:
    """Return the state with points and box alone, for a model that cannot follow the steps."""
    return replace(session, prompt=replace(session.prompt, steps=(), chosen=None), answer=None)


def steps_to(prompt: ObjectPrompt) -> tuple[ObjectPrompt, ...]:
    """Return the steps of the prompt that follows one: its own, and itself if a mask was chosen."""
    return prompt.steps if prompt.chosen is None else (*prompt.steps, replace(prompt, steps=()))


def apply(session: Session, action: Any) -> Session:
    """Return the state after an action.

    Raises:
        InputError: there is no picture yet, or the action is not one of the module's description.
    """
    if session.image is None:
        raise InputError(sentence("a picture", "be open before you click", "none", "drop one on the page"))
    if not isinstance(action, Mapping):
        raise InputError(sentence("an action", "be an object", type(action).__name__, 'write {"do": "undo"}'))
    do = action.get("do")
    if do == "point":
        return _marked(session, _with_point(_following(session.prompt), action, session.image.hw))
    if do == "box":
        box = box_of(action.get("box"), session.image.hw)
        return session if box == session.prompt.box else _marked(session, replace(_following(session.prompt), box=box))
    if do == "restore":
        return _marked(session, _restored(action, session.image.hw))
    if do == "clear":
        return _marked(session, NOTHING)
    if do == "undo":
        return _stepped(session, session.past[:-1], session.past[-1:], (*session.future, session.prompt))
    if do == "redo":
        return _stepped(session, (*session.past, session.prompt), session.future[-1:], session.future[:-1])
    if do == "choose":
        return _choose(session, action.get("index"))
    raise InputError(unknown_name("do", do, ("point", "box", "undo", "redo", "clear", "choose", "restore")))


def trimmed(session: Session) -> Session:
    """Drop the prompts farthest from the current one where past and future together take too many bytes."""
    sides = session.past, session.future
    order = sorted((distance, side) for side in range(2) for distance in range(len(sides[side])))
    seen: set[int] = set()
    sizes = (size_of(sides[side][-1 - distance], seen) for distance, side in order)
    kept = sum(total <= MAX_UNDO_BYTES for total in itertools.accumulate(sizes))
    if kept == len(order):
        return session
    forth = sum(side for _, side in order[:kept])
    past, future = (side[len(side) - count :] for side, count in zip(sides, (kept - forth, forth), strict=True))
    return replace(session, past=past, future=future)


def prompt_of(points: Any, box: Any, hw: tuple[int, int]) -> ObjectPrompt:
    """Read a whole prompt: points as [[x, y, label]] or None, a box as [x1, y1, x2, y2] or None.

    Raises:
        InputError: one has another form, or lies outside the picture.
    """
    if not isinstance(points, list | None):
        raise InputError(sentence("points", "be a list", type(points).__name__, "write [[x, y, label]]"))
    prompt = ObjectPrompt(box=None if box is None else box_of(box, hw))
    for point in points or []:
        if not isinstance(point, list) or len(point) != 3:
            raise InputError(sentence("each point", "be [x, y, label]", repr(point), "label 1 lies on the object"))
        prompt = _with_point(prompt, dict(zip(("x", "y", "label"), point, strict=True)), hw)
    return prompt


def box_of(value: Any, hw: tuple[int, int]) -> Box:
    """Read a box, whichever way it was dragged.

    Raises:
        InputError: it is not four numbers, has no area, or leaves the picture.
    """
    if not isinstance(value, list | tuple) or len(value) != 4 or not all(map(_is_number, value)):
        raise InputError(sentence("box", "be [x1, y1, x2, y2]", repr(value), "give four numbers, in pixels"))
    x1, x2 = sorted((float(value[0]), float(value[2])))
    y1, y2 = sorted((float(value[1]), float(value[3])))
    if x1 == x2 or y1 == y2:
        raise InputError(sentence("box", "have an area", repr(list(value)), "drag further, or click for a point"))
    if not (x1 >= 0 and y1 >= 0 and x2 <= hw[1] and y2 <= hw[0]):
        raise InputError(sentence("box", f"lie in the picture, {hw[1]} x {hw[0]}", repr(list(value)), "drag inside it"))
    return x1, y1, x2, y2


def _marked(session: Session, prompt: ObjectPrompt) -> Session:
    if prompt == session.prompt:
        return session
    past = (*session.past, session.prompt)[-MAX_UNDO:]
    return replace(session, prompt=prompt, past=past, future=(), answer=None)


def _stepped(
    session: Session,
    past: tuple[ObjectPrompt, ...],
    prompt: tuple[ObjectPrompt, ...],
    future: tuple[ObjectPrompt, ...],
) -> Session:
    """Go one step back or forth, or stay where there is none."""
    if not prompt:
        return session
    return replace(session, prompt=prompt[0], past=past, future=future, answer=None)


def _choose(session: Session, index: Any) -> Session:
    count = len(session.answer.scores) if session.answer else 0
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
        raise InputError(sentence("index", f"name one of {count} masks, from 0", repr(index), "click for masks first"))
    assert session.answer is not None, "its masks were counted"
    chosen = session.answer.indices[index]
    if chosen == session.prompt.chosen:
        return session
    # What was undone continued from another choice.
    return replace(session, prompt=replace(session.prompt, chosen=chosen), future=())


def _following(prompt: ObjectPrompt) -> ObjectPrompt:
    """Return the prompt that the next mark is added to: a chosen mask becomes a step."""
    steps = steps_to(prompt)
    if len(steps) >= MAX_STEPS:
        remedy = "undo some, or clear and mark the object anew"
        raise InputError(sentence("chosen masks", f"be at most {MAX_STEPS - 1}", len(steps), remedy))
    return replace(prompt, steps=steps, chosen=None)


def _restored(action: Mapping[str, Any], hw: tuple[int, int]) -> ObjectPrompt:
    """Read a prompt with its steps, as :func:`mobilesam.webui.view.prompt_view` writes it."""
    steps = action.get("steps", [])
    if not isinstance(steps, list) or len(steps) >= MAX_STEPS:
        actual = type(steps).__name__ if not isinstance(steps, list) else len(steps)
        raise InputError(sentence("steps", f"be a list of at most {MAX_STEPS - 1}", actual, "leave out the earliest"))
    read = []
    for step in steps:
        if not isinstance(step, Mapping):
            raise InputError(sentence("each step", "be an object", type(step).__name__, 'write {"points": ...}'))
        read.append(
            replace(
                prompt_of(step.get("points"), step.get("box"), hw), chosen=parse_chosen(step.get("chosen"), "chosen")
            )
        )
    if read:
        refuse_without_object(read[0], "the first step")
    chosen = None if action.get("chosen") is None else parse_chosen(action["chosen"], "chosen")
    return replace(prompt_of(action.get("points"), action.get("box"), hw), steps=tuple(read), chosen=chosen)


def _with_point(prompt: ObjectPrompt, point: Mapping[str, Any], hw: tuple[int, int]) -> ObjectPrompt:
    x, y, label = point.get("x"), point.get("y"), point.get("label", 1)
    if not (_is_number(x) and _is_number(y)):
        raise InputError(sentence("a point", "have numbers x and y", f"{x!r}, {y!r}", "give pixels of the picture"))
    if label not in (0, 1) or isinstance(label, bool):
        raise InputError(sentence("label", "be 1 or 0", repr(label), "1 lies on the object"))
    if not (0 <= x < hw[1] and 0 <= y < hw[0]):
        raise InputError(
            sentence("a point", f"lie in the picture, {hw[1]} x {hw[0]}", f"{x:g}, {y:g}", "click inside it")
        )
    if len(prompt.points) >= MAX_POINTS:
        raise InputError(
            sentence("points", f"be at most {MAX_POINTS}", len(prompt.points) + 1, "undo some, or draw a box")
        )
    return replace(prompt, points=(*prompt.points, (float(x), float(y))), labels=(*prompt.labels, int(label)))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
