"""The training loop: steps, measurements on held-back images, early stopping, and states to continue from."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mobilesam.errors import CheckpointError, InputError
from mobilesam.finetune import heldback
from mobilesam.finetune.distillation import Teacher
from mobilesam.finetune.snapshot import Snapshots
from mobilesam.finetune.training import TrainedImage, Trainer

MEASUREMENTS = 10  # on the held-back images in a run, beside the one before it
STEPS_PER_STATE = 10
# Means over a hundred objects differ by this much by chance. Of measurements that differ less, the latest is used: its
# weights were trained longest, and in the end with a small learning rate.
TOLERANCE = 0.01
# Means over fewer held-back objects say too little to stop early or to prefer an earlier step: the latest weights are
# used, unless they are worse than the original ones by more than chance.
LEAST_OBJECTS, CHANCE = 30, 0.2

Progress = Callable[[str, int, int], object]  # stage, done, total


@dataclass
class Course:
    """What has happened in a run.

    history: rows with "step", "loss" (mean since the row before; not at step 0), and the fields of
        :class:`mobilesam.finetune.heldback.Score` if images are held back.
    best: the blended weights of the latest measurement that is as good as the best, or with few held-back objects the
        latest ones.
    best_step: the step of ``best``. seconds: spent in steps and measurements. stopped: why the run ended early, or "".
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best: list[Tensor] = field(default_factory=list)
    best_step: int = 0
    seconds: float = 0.0
    stopped: str = ""


def run(
    trainer: Trainer,
    teacher: Teacher | None,
    held_back: Sequence[TrainedImage],
    steps: int,
    snapshots: Snapshots,
    *,
    resume: bool,
    progress: Progress | None = None,
) -> Course:
    """Train, and return the course of the run; the trainer's network gets the best weights.

    Args:
        resume: continue from the state of a stopped run, if there is one.

    Raises:
        CheckpointError: the loss is not finite before the first measurement.
        InputError: the state cannot be read, or is of another run.
    """
    return _Loop(trainer, teacher, held_back, steps, snapshots, progress).run(resume)


class _Loop:
    def __init__(
        self,
        trainer: Trainer,
        teacher: Teacher | None,
        held_back: Sequence[TrainedImage],
        steps: int,
        snapshots: Snapshots,
        progress: Progress | None,
    ) -> None:
        self.trainer, self.teacher, self.held_back, self.steps = trainer, teacher, held_back, steps
        self.snapshots, self.progress = snapshots, progress
        self.selecting = sum(len(image.targets) for image in held_back) >= LEAST_OBJECTS
        self.course = Course()
        self.losses: list[float] = []
        self.writable = True

    def run(self, resume: bool) -> Course:
        course, trainer = self.course, self.trainer
        if resume and self.snapshots.exists():
            self._restore(self.snapshots.read())
        interval = max(1, round(self.steps / MEASUREMENTS))
        most, budget = trainer.settings.early_stopping, trainer.settings.time_budget
        before, started = course.seconds, time.monotonic()
        if not course.history:
            self._measure()
        while not course.stopped and trainer.step < self.steps:
            done = trainer.step / self.steps
            if budget is not None:
                done = max(done, course.seconds / budget)
            if done >= 1:
                course.stopped = f"the time budget of {budget:g} s is used"
                break
            loss = trainer.advance(done, self.teacher)
            if not math.isfinite(loss):
                self._not_finite()
                break
            self.losses.append(loss)
            if self.progress:
                self.progress("training", trainer.step, self.steps)
            if trainer.step % interval == 0 or trainer.step == self.steps:
                self._measure()
                if self.selecting and self._without_gain() >= most:
                    course.stopped = f"{most} measurements on the held-back images brought nothing better"
            course.seconds = before + time.monotonic() - started
            if trainer.step % STEPS_PER_STATE == 0:
                self._save()
        if self.losses:  # the time budget ended the run between two measurements
            self._measure()
        course.seconds = before + time.monotonic() - started
        trainer.set(course.best)
        return course

    def _measure(self) -> None:
        course, trainer = self.course, self.trainer
        row: dict[str, float] = {"step": trainer.step}
        if self.losses:
            row["loss"] = sum(self.losses) / len(self.losses)
            self.losses.clear()
        means = [each["mean"] for each in course.history if "mean" in each]
        if self.held_back:
            with trainer.blended() as sam:
                score = heldback.measure(sam, self.held_back, neck=trainer.settings.neck)
            row |= {**score._asdict(), "mean": score.mean}
        course.history.append(row)
        if not means:
            is_good = True
        elif self.selecting:
            is_good = row["mean"] > means[0] and row["mean"] >= max(means) - TOLERANCE
        else:
            is_good = row["mean"] >= means[0] - CHANCE
        if is_good:
            course.best, course.best_step = trainer.blend(), trainer.step

    def _without_gain(self) -> int:
        """Return the number of measurements since the best one."""
        return sum(row["step"] > self.course.best_step for row in self.course.history)

    def _not_finite(self) -> None:
        course, step = self.course, self.trainer.step
        if course.best_step == 0:
            raise CheckpointError(
                f"The loss of step {step} is not a finite number, and nothing was written. Use a smaller "
                "--learning-rate, and check that the weights of --model are intact."
            )
        course.stopped = f"the loss of step {step} is not a finite number"
        warnings.warn(f"{course.stopped}; the weights of step {course.best_step} are used", stacklevel=2)
        self.losses.clear()

    def _save(self) -> None:
        """Write the state; on a full disk, go on without it."""
        course = self.course
        state = {
            "trainer": self.trainer.state(),
            "losses": list(self.losses),
            **{name: getattr(course, name) for name in ("history", "best", "best_step", "seconds")},
        }
        try:
            self.snapshots.write(state)
        except InputError as error:
            if self.writable:
                warnings.warn(f"a stopped run cannot be resumed: {error}", stacklevel=2)
            self.writable = False

    def _restore(self, state: dict[str, Any]) -> None:
        self.trainer.restore(state["trainer"])
        self.losses = list(state["losses"])
        for name in ("history", "best", "best_step", "seconds"):
            setattr(self.course, name, state[name])
