"""Selection of one of the candidate masks of a prompt.

The decoder predicts four masks: the single-mask output and, for ambiguous prompts, three multimask outputs. The mask of
the highest predicted IoU is often wrong. For one point, a learned chooser, :mod:`mobilesam.masks.chooser`, expects an
IoU of each mask from all four, and is right more often; another, :mod:`mobilesam.masks.box_chooser`, does so for a box.
docs/accuracy.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mobilesam.arrays import FloatArray
from mobilesam.config import MASK_THRESHOLD, MULTIMASK, SINGLE_MASK
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.masks.choosers import PUBLISHED, Choosers

LEARNED = "learned"
RULES = (LEARNED, "agreement", "score", "single")


def rule_of(
    select: str | None,
    weights_id: Callable[[], str],
    *,
    single_point: bool,
    single_box: bool,
    choosers: Choosers = PUBLISHED,
) -> str:
    """Return the rule for a prompt.

    Args:
        select: a rule of :data:`RULES`, or None for the default: "learned" for a single foreground point or a box alone
            if the chooser was learned on the weights, else "agreement" for the point; and "single" for all other
            prompts, for which "learned" is "single" too.
        weights_id: returns that of the model, see :attr:`mobilesam.model.MaskModel.source_weights_id`; called where
            the rule depends on it, since it may be computed from all weights.
        single_point: whether the prompt is a single foreground point.
        single_box: whether the prompt is a box alone.
        choosers: those of the model.

    Raises:
        InputError: ``select`` is not one of the rules, or is "learned" for a point and other weights.
        WeightsError: the file of the chooser is damaged.
    """
    if select is not None and select not in RULES:
        raise InputError(unknown_name("select", select, RULES))
    if select not in (None, LEARNED):
        return select
    if single_box:
        return LEARNED if choosers.box.knows(weights_id()) else "single"
    if not single_point:
        return "single"
    if choosers.point.knows(weights_id()):
        return LEARNED
    if select is None:
        return "agreement"
    others = ", ".join(rule for rule in RULES if rule != LEARNED)
    actual, remedy = "'learned'; the chooser was learned on other weights", "leave select out for the default"
    raise InputError(sentence("select", f"be one of {others} for these weights", actual, remedy))


def choose(
    rule: str, low_res_logits: FloatArray, iou_predictions: FloatArray, confidences: FloatArray | None = None
) -> int:
    """Return the index of the mask to keep.

    Args:
        rule: "learned", the mask of the highest confidence; "agreement", the mask with the highest mean IoU with all
            four masks, weighted by predicted IoU; "score", the multimask output of the highest predicted IoU, as in the
            reference's examples; "single", the single-mask output.
        low_res_logits: (4, h, w), by mask index; or (1, h, w) of a model that predicts one mask.
        iou_predictions: (4,) or (1,).
        confidences: (4,), from ``confidences`` of the chooser or of that of a box, for "learned".

    Raises:
        InputError: the rule is not one of :data:`RULES`, or "learned" has no confidences.
    """
    if rule not in RULES:
        raise InputError(unknown_name("select", rule, RULES))
    if rule == "single" or len(iou_predictions) == 1:
        return SINGLE_MASK[0]
    if rule == LEARNED:
        if confidences is None:
            remedy = "pass those of mobilesam.masks.chooser.confidences"
            raise InputError(sentence("confidences", "be given for the rule learned", None, remedy))
        return int(confidences.argmax())
    if rule == "score":
        return MULTIMASK[int(iou_predictions.take(MULTIMASK).argmax())]
    masks = low_res_logits > MASK_THRESHOLD
    shared = np.array([[np.count_nonzero(one & other) for other in masks] for one in masks])
    area = np.diagonal(shared)
    iou = shared / np.maximum(area[:, None] + area - shared, 1)
    return int(np.argmax((iou * iou_predictions).sum(axis=1)))
