"""What points at one object, and how the page or a person came to its mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mobilesam.errors import InputError, sentence

if TYPE_CHECKING:
    from mobilesam.arrays import FloatArray

MAX_STEPS = 32  # each one is a call of the decoder whenever the object is segmented

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ObjectPrompt:
    """What points at one object, in pixels of the original image.

    points: x y of each point. labels: 1 foreground or 0 background, one for each point. box: x1 y1 x2 y2, or None.
    label: what the object is, or None.
    steps: earlier prompts of the same object, at most MAX_STEPS, each with ``chosen`` and without steps of its own.
        The mask chosen in one is fed into the next as ``mask_input``, that of the last into this prompt.
    chosen: the decoder's own index of the mask that counts, 0 (the single-mask output) to 3; None leaves the choice to
        ``select``.
    mask_input: (1, 256, 256) float32 logits of an earlier mask of the object, in place of those that steps give; it
        takes no part in comparisons.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None
    label: str | None = None
    steps: tuple[ObjectPrompt, ...] = ()
    chosen: int | None = None
    mask_input: FloatArray | None = field(default=None, compare=False, repr=False)

    @property
    def refines(self) -> bool:
        """Whether an earlier mask is fed back."""
        return bool(self.steps) or self.mask_input is not None

    @property
    def ambiguous(self) -> bool:
        """Whether it is a lone foreground point, which may mean a part or the whole."""
        return self.box is None and self.labels == (1,) and not self.refines

    @property
    def has_object(self) -> bool:
        """Whether it says where the object is; points of label 0 alone only say where it is not."""
        return self.box is not None or 1 in self.labels or self.refines

    def arguments(self) -> dict[str, Any]:
        """Return points and box as arguments of ``SamPredictor.predict``."""
        return {
            "point_coords": [list(point) for point in self.points] or None,
            "point_labels": list(self.labels) or None,
            "box": None if self.box is None else list(self.box),
        }


def refuse_without_object(prompt: ObjectPrompt, where: str = "a prompt") -> None:
    """Raise InputError if a prompt does not say where its object is; ``where`` is what the message calls it."""
    if not prompt.has_object:
        actual = "background points alone" if prompt.points else "neither"
        remedy = "add a point of label 1 on the object, or a box around it"
        raise InputError(sentence(where, "have a foreground point or a box", actual, remedy))


def group(points: Iterable[Sequence[float]], boxes: Iterable[Sequence[float]]) -> list[ObjectPrompt]:
    """Return the objects that loose marks mean: all points are one object, each box is one; both only with one box.

    Args:
        points: x y label of each point. boxes: x1 y1 x2 y2 of each box.

    Raises:
        InputError: there are points and several boxes, or background points alone.
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
        prompt = ObjectPrompt(tuple(coords), tuple(labels), corners[0] if corners else None)
        refuse_without_object(prompt, "points")
        return [prompt]
    return [ObjectPrompt(box=box) for box in corners]
