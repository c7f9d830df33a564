"""The settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mobilesam.errors import InputError, sentence

STEPS_PER_OBJECT = 4  # of the default budget
LEAST_STEPS, MOST_STEPS = 120, 240  # of the default budget
VIEWS = (0, 1, 3)


@dataclass(frozen=True)
class Settings:
    """How to train.

    steps: number of updates; by default 4 an object, at least 120 and at most 240.
    learning_rate: of AdamW, after a warm-up; it falls along a cosine. By default 1e-4, and 1e-3 with ``lora``.
    lora: the rank of updates of the decoder's attention that are trained instead of the whole decoder and the prompt
        embeddings; they are added to the weights in the end. None trains all.
    neck: whether to train the last layers of the image encoder too.
    views: further versions of each image: 0, 1 for mirrored, or 3 for mirrored, cropped and both.
    held_back: share of the images that are not trained on, for early stopping and the report.
    early_stopping: number of measurements on them without a gain after which training stops.
    seed: of all random choices. With the same seed, versions and threads, runs write the same file.
    time_budget: end after this many seconds; the results of two runs then differ.
    """

    steps: int | None = None
    learning_rate: float | None = None
    lora: int | None = None
    neck: bool = False
    views: int = 0
    held_back: float = 0.15
    early_stopping: int = 6
    seed: int = 0
    time_budget: float | None = None

    def __post_init__(self) -> None:
        for name, least, most in (
            ("steps", 1, 10**6),
            ("lora", 1, 64),
            ("early_stopping", 1, 10**6),
            ("seed", 0, 2**63),
        ):
            value = getattr(self, name)
            if value is None and name in ("steps", "lora"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                remedy = "leave it out for the default"
                raise InputError(sentence(name, f"be a whole number from {least} to {most}", repr(value), remedy))
        for name, low, high in (("learning_rate", 0.0, 0.1), ("held_back", 0.0, 0.9), ("time_budget", 0.0, math.inf)):
            value = getattr(self, name)
            if value is None and name != "held_back":
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            least_allowed = number and (value >= low if name == "held_back" else value > low)
            if not number or not least_allowed or not value <= high or math.isinf(value):
                requirement = f"be a number {'from' if name == 'held_back' else 'above'} {low:g}"
                requirement += "" if math.isinf(high) else f" to {high:g}"
                raise InputError(sentence(name, requirement, repr(value), "leave it out for the default"))
        if isinstance(self.views, bool) or self.views not in VIEWS:
            raise InputError(sentence("views", "be 0, 1 or 3", repr(self.views), "1 adds mirrored images"))

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.learning_rate or (1e-3 if self.lora else 1e-4)

    def steps_for(self, objects: int) -> int:
        """Return the number of steps for a number of objects to train on."""
        return self.steps or min(max(STEPS_PER_OBJECT * objects, LEAST_STEPS), MOST_STEPS)
