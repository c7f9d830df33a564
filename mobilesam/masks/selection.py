"""Selection of one of the candidate masks of a prompt.

The decoder predicts four masks: the single-mask output and, for ambiguous prompts, three multimask outputs. The mask of
the highest predicted IoU is often wrong. The mask that agrees most with the others is correct more often;
docs/accuracy.md has the figures.
"""

from __future__ import annotations

import numpy as np

from mobilesam.arrays import FloatArray
from mobilesam.config import MASK_THRESHOLD, MULTIMASK, SINGLE_MASK
from mobilesam.errors import InputError, unknown_name

RULES = ("agreement", "score", "single")


def choose(rule: str, low_res_logits: FloatArray, iou_predictions: FloatArray) -> int:
    """Return the index of the mask to keep.

    Args:
        rule: "agreement", the mask with the highest mean IoU with all four masks, weighted by predicted IoU; "score",
            the multimask output of the highest predicted IoU, as in the reference's examples; "single", the
            single-mask output.
        low_res_logits: (4, h, w), by mask index; or (1, h, w) of a model that predicts one mask.
        iou_predictions: (4,) or (1,).

    Raises:
        InputError: the rule is not one of :data:`RULES`.
    """
    if rule not in RULES:
        raise InputError(unknown_name("select", rule, RULES))
    if rule == "single" or len(iou_predictions) == 1:
        return SINGLE_MASK[0]
    if rule == "score":
        return MULTIMASK[int(iou_predictions.take(MULTIMASK).argmax())]
    masks = low_res_logits > MASK_THRESHOLD
    shared = np.array([[np.count_nonzero(one & other) for other in masks] for one in masks])
    area = np.diagonal(shared)
    iou = shared / np.maximum(area[:, None] + area - shared, 1)
    return int(np.argmax((iou * iou_predictions).sum(axis=1)))
