"""The losses of training: focal and dice loss of masks, and squared error of predicted IoUs (SAM, section A).

A logit has 16 pixels, and most of the error of a good mask is along its edge. So a second loss compares the upsampled
logits around each object with the pixels of its mask.

Letters: B prompts, C masks, s the side of the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mobilesam.config import MASK_THRESHOLD
from mobilesam.finetune.objects import Target

FOCAL_WEIGHT, FOCAL_EXPONENT = 20.0, 2.0  # of the focal loss, relative to dice; SAM, section A
FOREGROUND = 0.25  # the focal loss's weight of foreground; Lin et al. 2017
MARGIN, LEAST_MARGIN = 0.2, 2  # of the window around an object: in its sides, and in logits
MOST_VALUES = 2**16  # of a window; in larger ones logits are upsampled less
DISTILLED_IOU = 1.0  # weight of the IoUs of :func:`distillation`


class MaskLosses(NamedTuple):
    """masks: (B, C), focal plus dice loss of each mask; ious: (B, C), the true IoUs, without gradient."""

    masks: Tensor
    ious: Tensor


def mask_losses(logits: Tensor, coverage: Tensor) -> MaskLosses:
    """Compare masks with one truth for each prompt.

    Args:
        logits: (B, C, h, w), the part that the image covers.
        coverage: (B, 1, h, w) in 0..1, how much of a logit's cell the object covers.
    """
    truth = coverage.expand_as(logits)
    chance = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    wrong = chance * (1 - truth) + (1 - chance) * truth
    weight = FOREGROUND * truth + (1 - FOREGROUND) * (1 - truth)
    focal = (weight * entropy * wrong**FOCAL_EXPONENT).mean((2, 3))
    with torch.no_grad():
        own, other = logits > MASK_THRESHOLD, truth > 0.5
        ious = (own & other).sum((2, 3)) / (own | other).sum((2, 3)).clamp(min=1)
    return MaskLosses(FOCAL_WEIGHT * focal + _dice(chance, truth), ious)


def window_losses(logits: Tensor, targets: Sequence[Target], size: int) -> Tensor:
    """Return the cross-entropy plus dice loss of upsampled masks in a window around each object, (B, C).

    Args:
        logits: (B, C, s, s).
        targets: the object of each prompt.
        size: side of the model frame.
    """
    side = logits.shape[-1]
    losses = []
    for each, target in zip(logits, targets, strict=True):
        box = target.box / (size / side)
        margin = np.maximum(MARGIN * (box[2:] - box[:2]), LEAST_MARGIN)
        low, high = np.maximum(np.floor(box[:2] - margin), 0), np.minimum(np.ceil(box[2:] + margin), side)
        (x1, y1), (x2, y2) = low.astype(int).tolist(), high.astype(int).tolist()
        factor = size // side
        while factor > 1 and (x2 - x1) * (y2 - y1) * factor**2 > MOST_VALUES:
            factor //= 2
        window = each[None, :, y1:y2, x1:x2]
        if factor > 1:
            window = F.interpolate(window, scale_factor=factor, mode="bilinear", align_corners=False)
        covered = target.coverage(size, factor * side)[factor * y1 : factor * y2, factor * x1 : factor * x2]
        truth = torch.from_numpy(covered).to(logits.device).expand_as(window)
        chance = window.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(window, truth, reduction="none").mean((2, 3))
        losses.append(entropy + _dice(chance, truth))
    return torch.cat(losses)


def ambiguous(losses: Tensor, iou_predictions: Tensor, ious: Tensor) -> Tensor:
    """Return the loss of candidate masks, (B,): of the best mask alone, and of all predicted IoUs; arguments (B, C)."""
    return losses.amin(1) + F.mse_loss(iou_predictions, ious, reduction="none").sum(1)


def distillation(logits: Tensor, iou_predictions: Tensor, taught: Tensor, taught_ious: Tensor) -> Tensor:
    """Return how far masks and predicted IoUs are from those of the original network, a scalar.

    Args:
        logits, taught: (B, C, h, w). iou_predictions, taught_ious: (B, C).
    """
    chance, truth = logits.sigmoid(), taught.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, truth)
    least = F.binary_cross_entropy_with_logits(taught, truth)
    dice = 1 - (2 * (chance * truth).sum((2, 3)) + 1) / ((chance**2 + truth**2).sum((2, 3)) + 1)
    return (
        entropy
        - least
        + dice.mean()
        + DISTILLED_IOU * F.mse_loss(iou_predictions, taught_ious, reduction="sum") / len(logits)
    )


def _dice(chance: Tensor, truth: Tensor) -> Tensor:
    """Return the dice loss of probabilities, (B, C, h, w), with 1 added so that empty masks have one."""
    return 1 - (2 * (chance * truth).sum((2, 3)) + 1) / ((chance + truth).sum((2, 3)) + 1)
