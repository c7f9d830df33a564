"""Evaluate a model on a data set."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mobilesam.bench.timing import Stopwatch, TimedModel
from mobilesam.errors import InputError, sentence
from mobilesam.evaluate.coco import Dataset
from mobilesam.evaluate.journal import Journal, Record
from mobilesam.evaluate.report import summarize
from mobilesam.evaluate.runner import Predictor, PromptKind, Settings, measure
from mobilesam.model import MaskModel
from mobilesam.predictor import SamPredictor


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of a run.

    records: one per image, JSON values: every instance with its IoUs, predicted IoUs, prompts and masks (RLE).
    """

    records: list[Record]
    settings: Settings

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """The report as JSON values; see :func:`mobilesam.evaluate.report.summarize`."""
        return summarize(self.records, self.settings)

    def predicted_masks(self, prompt: PromptKind) -> list[dict[str, Any]]:
        """Return the predicted mask of each instance for one kind of prompt, in order, as COCO's compressed RLE."""
        return [
            {"size": record["hw"], "counts": instance[prompt]["rle"]}
            for record in self.records
            for instance in record["instances"]
        ]

    def mean_iou(self, prompt: PromptKind) -> float:
        """Return the mean IoU over all instances for one kind of prompt.

        Raises:
            InputError: the kind was not measured, or no instance could be used.
        """
        mean = self.summary["prompts"].get(prompt, {}).get("mean_iou")
        if mean is None:
            raise InputError(
                sentence("prompt", "have been measured on an instance", repr(prompt), "see Evaluation.summary")
            )
        return float(mean)

    def __getattr__(self, name: str) -> Any:
        if f"_{name}" != "_answers":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        message = f"Evaluation.{name} is now Evaluation.predicted_masks. The old name will be removed in release 0.3."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return self.predicted_masks


def evaluate(
    model: MaskModel | Predictor,
    dataset: Dataset,
    settings: Settings | None = None,
    *,
    fast_padding: bool = False,
    watch: Stopwatch | None = None,
    journal: Journal | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> Evaluation:
    """Prompt every instance of a data set and compare the predicted masks with the annotated ones.

    model: a model of this package, run by SamPredictor with every stage timed; or anything with the interface of
        SamPredictor, of which whole calls are timed.
    fast_padding: see SamPredictor; for a model of this package only.
    watch, journal, progress: see :func:`mobilesam.evaluate.runner.measure`.
    """
    settings = settings or Settings()
    if isinstance(model, MaskModel):
        watch = watch or Stopwatch()
        model = SamPredictor(TimedModel(model, watch), fast_padding=fast_padding)
    elif fast_padding:
        remedy = "pass fast_padding to the predictor itself"
        raise InputError(sentence("fast_padding", "come with a model of this package", type(model).__name__, remedy))
    records = measure(model, dataset, settings, watch=watch, journal=journal, progress=progress)
    return Evaluation(records, settings)
