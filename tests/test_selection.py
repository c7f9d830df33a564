"""Choosing among the masks of a prompt."""

from __future__ import annotations

import numpy as np
import pytest

from mobilesam.errors import InputError
from mobilesam.masks.selection import RULES, choose


def logits(*boxes):
    out = np.full((len(boxes), 32, 32), -5, np.float32)
    for mask, (top, bottom) in zip(out, boxes, strict=True):
        mask[top:bottom] = 5
    return out


MASKS = logits((0, 32), (4, 12), (4, 13), (20, 22))
SCORES = np.array([0.5, 0.7, 0.8, 0.9], np.float32)


@pytest.mark.parametrize(("rule", "expected"), [("single", 0), ("score", 3), ("agreement", 2)])
def test_rules(rule, expected):
    assert choose(rule, MASKS, SCORES) == expected


def test_agreement_equals_the_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        masks = rng.normal(size=(4, 16, 16)).astype(np.float32) + rng.normal(size=(4, 1, 1)).astype(np.float32)
        scores = rng.random(4).astype(np.float32)
        support = []
        for one in masks > 0:
            ious = [(one & other).sum() / max(1, (one | other).sum()) for other in masks > 0]
            support.append(sum(iou * score for iou, score in zip(ious, scores, strict=True)))
        assert choose("agreement", masks, scores) == int(np.argmax(support))


def test_empty_masks_and_a_model_of_one_mask():
    assert choose("agreement", np.full((4, 8, 8), -1, np.float32), SCORES) == 0
    assert choose("score", MASKS[:1], SCORES[:1]) == 0


def test_unknown_rule():
    with pytest.raises(InputError, match="select must be one of learned, agreement, score, single, got 'best'"):
        choose("best", MASKS, SCORES)


def test_the_command_line_knows_the_same_rules():
    from mobilesam.cli.options import Select

    assert tuple(Select) == RULES
