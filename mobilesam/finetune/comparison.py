"""The comparison of two evaluations on the same objects: what changed, and how certain that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mobilesam.arrays import FloatArray64
from mobilesam.config import MULTIMASK
from mobilesam.evaluate import Evaluation, Settings
from mobilesam.evaluate.journal import Record
from mobilesam.evaluate.metrics import number_of_clicks
from mobilesam.evaluate.report import CLICK_TARGETS, final_iou

NOTABLE = 0.02  # smallest change of an object that is counted as better or worse
FEW = 30  # objects, below which a report warns
_LEAST = 5  # objects, below which resampling tells nothing
_RESAMPLES, _SEED = 2000, 0


@dataclass(frozen=True, eq=False)
class ComparedObject:
    """An annotated object and its results in both evaluations.

    place: of the object among the usable ones of its image.
    """

    file_name: str
    place: int
    before: Record
    after: Record

    @property
    def category(self) -> str:
        """The name of the category, "" without one."""
        return str(self.before["category"])

    def ious(self, kind: str) -> tuple[float, float]:
        """Return the IoUs before and after for one kind of prompt."""
        return final_iou(self.before[kind]), final_iou(self.after[kind])


class Change(NamedTuple):
    """The change of a measure, averaged over the objects.

    prompt: the kind of prompt. measure: a short name. label: both as text.
    interval: 95 % confidence interval of the difference, or None with fewer than 5 objects.
    better, worse: shares of the objects that changed by more than 0.02, 0 to 1; better is a larger IoU, a smaller
        error, and fewer clicks.
    """

    prompt: str
    measure: str
    label: str
    before: float
    after: float
    difference: float
    interval: tuple[float, float] | None
    better: float
    worse: float


class CategoryChange(NamedTuple):
    """Mean IoUs before and after of the objects of a category, by kind of prompt."""

    category: str
    objects: int
    mean_ious: dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two evaluations of the same objects."""

    objects: Sequence[ComparedObject]
    changes: Sequence[Change]
    kinds: Sequence[str]

    @property
    def images(self) -> int:
        """The number of images with these objects."""
        return len({each.file_name for each in self.objects})

    def change(self, prompt: str, measure: str = "iou") -> Change | None:
        """Return one of the changes, or None if it was not measured."""
        return next((each for each in self.changes if (each.prompt, each.measure) == (prompt, measure)), None)

    def categories(self) -> list[CategoryChange]:
        """Return the changes of each category, the one with the most objects first."""
        names = [each.category for each in self.objects]
        result = []
        for name in sorted(set(names), key=lambda name: (-names.count(name), name)):
            own = [each for each in self.objects if each.category == name]
            means = {kind: np.mean([each.ious(kind) for each in own], axis=0) for kind in self.kinds}
            result.append(
                CategoryChange(name, len(own), {kind: (float(mean[0]), float(mean[1])) for kind, mean in means.items()})
            )
        return result


def compare(before: Evaluation | None, after: Evaluation | None) -> Comparison | None:
    """Return the comparison of two evaluations with the same settings, or None if they have no object in common."""
    if before is None or after is None:
        return None
    objects = [
        ComparedObject(first["file_name"], place, *results)
        for first, second in zip(before.records, after.records, strict=True)
        for place, results in enumerate(zip(first["instances"], second["instances"], strict=False))
    ]
    if not objects:
        return None
    samples = _resampled([each.file_name for each in objects])
    changes = []
    for measure in _measures(before.settings):
        values = [[measure.of(result[measure.prompt]) for result in (each.before, each.after)] for each in objects]
        if not any(value is None for pair in values for value in pair):
            changes.append(_change(measure, np.array(values, np.float64), samples))
    return Comparison(objects, changes, before.settings.prompts)


class _Measure(NamedTuple):
    prompt: str
    name: str
    label: str
    of: Callable[[Record], float | None]
    sign: int  # 1 if more is better, otherwise -1


def _measures(settings: Settings) -> list[_Measure]:
    kinds, measures = settings.prompts, []
    if "box" in kinds:
        measures.append(_Measure("box", "iou", "box: IoU", final_iou, 1))
    if "point" in kinds:
        measures.append(_Measure("point", "iou", "one click: IoU", final_iou, 1))
        measures.append(_Measure("point", "best_of_three", "one click: IoU of the best of three", _best_of_three, 1))
    for kind, label in (("box", "box"), ("point", "one click")):
        if kind in kinds:
            measures.append(_Measure(kind, "boundary_iou", f"{label}: boundary IoU", _boundary, 1))
    for kind, label in (("box", "box"), ("point", "one click")):
        if kind in kinds:
            measures.append(_Measure(kind, "predicted_iou_error", f"{label}: error of the predicted IoU", _error, -1))
    if "clicks" in kinds:
        for name, target in CLICK_TARGETS.items():
            measures.append(_Measure("clicks", f"clicks_{name}", f"clicks to IoU {target:.2f}",
                                     _clicks_to(target, settings.max_clicks), -1))  # fmt: skip
    return measures


def _best_of_three(result: Record) -> float | None:
    ious = [result["ious"][index] for index in MULTIMASK]
    return None if None in ious else max(ious)


def _boundary(result: Record) -> float:
    return float(result["boundary_iou"])


def _error(result: Record) -> float:
    return abs(float(result["predicted"][result["chosen"]]) - float(result["iou"]))


def _clicks_to(target: float, max_clicks: int) -> Callable[[Record], float]:
    return lambda result: number_of_clicks(result["ious"], target, max_clicks)


def _change(measure: _Measure, values: FloatArray64, samples: Sequence[Any]) -> Change:
    """Return the change of values, (objects, 2): before and after."""
    differences = values[:, 1] - values[:, 0]
    interval = None
    if samples:
        low, high = np.percentile([differences[sample].mean() for sample in samples], [2.5, 97.5])
        interval = (float(low), float(high))
    before, after = values.mean(axis=0)
    gains = measure.sign * differences
    return Change(
        *(measure.prompt, measure.name, measure.label, float(before), float(after), float(after - before), interval),
        better=float(np.mean(gains > NOTABLE)),
        worse=float(np.mean(gains < -NOTABLE)),
    )


def _resampled(images: Sequence[str]) -> list[Any]:
    """Return indices of objects for each bootstrap sample; none if there are too few objects.

    Objects of an image are alike, so images are drawn first, then objects of each (Davison and Hinkley 1997, Bootstrap
    Methods and their Application, section 3.8).

    images: the image of each object; equal ones follow each other.
    """
    if len(images) < _LEAST:
        return []
    random = np.random.default_rng(_SEED)
    _, starts, counts = np.unique(images, return_index=True, return_counts=True)
    samples = []
    for _ in range(_RESAMPLES):
        drawn = random.integers(len(starts), size=len(starts))
        sizes = np.repeat(counts[drawn], counts[drawn])
        samples.append(np.repeat(starts[drawn], counts[drawn]) + (random.random(len(sizes)) * sizes).astype(int))
    return samples
