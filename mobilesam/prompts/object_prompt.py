"""The prompt of one object, with the steps that led to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mobilesam.errors import InputError, sentence

if TYPE_CHECKING:
    from mobilesam.arrays import FloatArray

MAX_STEPS = 32  # each step is a call of the decoder

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ObjectPrompt:
    """The prompt of one object, in pixels of the original image.

    points: x y of each point. labels: 1 foreground or 0 background, one for each point. box: x1 y1 x2 y2, or None.
    label: the name of the object, or None. score, detection_id: a detector's, carried through to the results, or None.
    normalized: whether the box is in 0..1 of the image's width and height instead of pixels; see :meth:`in_pixels`.
    steps: earlier prompts of the same object, at most MAX_STEPS with this one, each with ``chosen`` and without steps.
        The mask chosen in each is the ``mask_input`` of the next, and that of the last the ``mask_input`` of this one.
    chosen: the decoder's index of the mask to keep, 0 (the single-mask output) to 3; None for the mask by ``select``.
    mask_input: (1, 256, 256) float32 logits of an earlier mask of the object, instead of steps; not compared by ``==``.
    origin: where the prompt was read, such as "results.json[3]", for messages; not compared by ``==``.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None
    label: str | None = None
    score: float | None = None
    detection_id: int | str | None = None
    normalized: bool = False
    steps: tuple[ObjectPrompt, ...] = ()
    chosen: int | None = None
    mask_input: FloatArray | None = field(default=None, compare=False, repr=False)
    origin: str = field(default="", compare=False, repr=False)

    @property
    def refines(self) -> bool:
        """Whether the prompt refines an earlier mask."""
        return bool(self.steps) or self.mask_input is not None

    @property
    def ambiguous(self) -> bool:
        """Whether the prompt is a single foreground point, which may mean a part or the whole."""
        return self.box is None and self.labels == (1,) and not self.refines

    @property
    def boxed(self) -> bool:
        """Whether the prompt is a box alone."""
        return self.box is not None and not self.points and not self.refines

    @property
    def has_object(self) -> bool:
        """Whether the prompt has a foreground point, a box or an earlier mask."""
        return self.box is not None or 1 in self.labels or self.refines

    def in_pixels(self, hw: tuple[int, int]) -> ObjectPrompt:
        """Return the prompt with its box in pixels of an image of (height, width)."""
        if not self.normalized or self.box is None:
            return self
        x1, y1, x2, y2 = self.box
        return replace(self, box=(x1 * hw[1], y1 * hw[0], x2 * hw[1], y2 * hw[0]), normalized=False)

    def inside(self, hw: tuple[int, int]) -> ObjectPrompt:
        """Return the prompt with the part of its box, in pixels, that lies in an image of (height, width).

        Raises:
            InputError: the box lies outside the image.
        """
        if self.box is None:
            return self
        x1, y1, x2, y2 = self.box
        if min(x2, y2) <= 0 or x1 >= hw[1] or y1 >= hw[0]:
            name = f"{self.origin}: the box" if self.origin else "a box"
            requirement = f"overlap the image, {hw[1]} wide and {hw[0]} high"
            actual = f"x1 {x1:g}, y1 {y1:g}, x2 {x2:g}, y2 {y2:g}"
            raise InputError(sentence(name, requirement, actual, "give it in pixels of the image as viewed"))
        return replace(self, box=(max(x1, 0), max(y1, 0), min(x2, hw[1]), min(y2, hw[0])))

    def arguments(self) -> dict[str, Any]:
        """Return points and box as arguments of ``SamPredictor.predict``."""
        return {
            "point_coords": [list(point) for point in self.points] or None,
            "point_labels": list(self.labels) or None,
            "box": None if self.box is None else list(self.box),
        }


def refuse_without_object(prompt: ObjectPrompt, where: str = "a prompt") -> None:
    """Raise InputError if a prompt does not say where its object is; ``where`` stands for it in the message."""
    if not prompt.has_object:
        actual = "background points alone" if prompt.points else "neither"
        remedy = "add a point of label 1 on the object, or a box around it"
        raise InputError(sentence(where, "have a foreground point or a box", actual, remedy))


def group(points: Iterable[Sequence[float]], boxes: Iterable[Sequence[float]]) -> list[ObjectPrompt]:
    """Return objects from separate points and boxes: all points are one object, each box is one object.

    Args:
        points: x y label of each point. boxes: x1 y1 x2 y2 of each box.

    Raises:
        InputError: there are points with several boxes, or background points alone.
    """
    coords, labels = [], []
    for x, y, label in points:
        coords.append((float(x), float(y)))
        labels.append(int(label))
    corners = [(float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in boxes]
    if coords and len(corners) > 1:
        remedy = "use a prompt file with one object for each box and its points"
        raise InputError(sentence("points", "come with at most one box", f"{len(corners)} boxes", remedy))
    if coords:
        prompt = ObjectPrompt(tuple(coords), tuple(labels), corners[0] if corners else None)
        refuse_without_object(prompt, "points")
        return [prompt]
    return [ObjectPrompt(box=box) for box in corners]
