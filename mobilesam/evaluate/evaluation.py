"""The entry for Python code: a model and a data set in, records and a report out."""

from __future__ import annotations

import functools
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
    """What a run found.

    records: one an image, JSON values: every instance with its IoUs, predicted IoUs, prompts and masks (RLE).
    """

    records: list[Record]
    settings: Settings

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """The report as JSON values; see :func:`mobilesam.evaluate.report.summarize`."""
        return summarize(self.records, self.settings)

    def answers(self, prompt: PromptKind) -> list[dict[str, Any]]:
        """Return the mask answered for each instance, in order, as COCO's compressed RLE."""
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
        found = self.summary["prompts"].get(prompt)
        if found is None or found["mean_iou"] is None:
            raise InputError(
                sentence("prompt", "have been measured on an instance", repr(prompt), "see Evaluation.summary")
            )
        return float(found["mean_iou"])


def evaluate(
    model: MaskModel | Predictor,
    dataset: Dataset,
    settings: Settings | None = None,
    *,
    fast_padding: bool = False,
    watch: Stopwatch | None = None,
    journal: Journal | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Evaluation:
    """Prompt every instance of a data set and compare the answers with its masks.

    model: a model of this package, prompted through SamPredictor with every stage timed; or anything with the
        interface of SamPredictor, which is timed from outside.
    fast_padding: of SamPredictor, for a model of this package.
    watch, journal, progress: see :func:`mobilesam.evaluate.runner.measure`.
    """
    settings = settings or Settings()
    if isinstance(model, MaskModel):
        watch = watch or Stopwatch()
        model = SamPredictor(TimedModel(model, watch), fast_padding=fast_padding)
    elif fast_padding:
        remedy = "set it where the predictor is made"
        raise InputError(sentence("fast_padding", "come with a model of this package", type(model).__name__, remedy))
    records = measure(model, dataset, settings, watch=watch, journal=journal, progress=progress)
    return Evaluation(records, settings)
