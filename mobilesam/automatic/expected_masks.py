"""The learned expectation of everything mode: how many masks a point gives that few other points give.

A network of one hidden layer sees the image embedding at a point. It predicts whether the point gives a mask of each of
four kinds: masks that one or two points of the grid of 32 × 32 give, a few, many, and most. A mask of the first kind is
found only by luck, so points where there may be one are decoded early; one point is enough for a mask of the last kind.
``benchmarks/expected_masks.py`` learns it from the masks of the exact mode; docs/performance.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.arrays import FloatArray
from mobilesam.automatic.exploration import Expectation
from mobilesam.config import STABILITY_OFFSET
from mobilesam.learned import LearnedFile

FILE = LearnedFile(
    Path(__file__).with_name("expected_masks.npz"),
    sha256="5b72d3f367a004cde8f10d7022cb95cad36e7bcb41b65780034e4a4e45300b5e",
    form="mobilesam-expected-masks-1",
    name="expectation",
    instead="use mode='exact' (--mode exact)",
)
FILTERS = (0.88, 0.95, STABILITY_OFFSET)  # the thresholds of the masks that it was learned on
# How fast the expected masks of each kind become fewer where a point becomes known.
DECAYS: FloatArray = np.array([0.5, 1, 2, 4], np.float32)


def expectation(vectors: FloatArray, mode: str) -> Expectation:
    """Return the new masks to expect of points.

    Args:
        vectors: (N, 256) float32, the image embedding at the points.
        mode: "balanced" or "fast".

    Raises:
        WeightsError: the file of the expectation is damaged.
    """
    learned = FILE.arrays
    return Expectation(log_rates(vectors, learned), DECAYS, math.log(learned[f"least_{mode}"]))


def log_rates(vectors: FloatArray, learned: Mapping[str, Any]) -> FloatArray:
    """Return the logarithm of the probability of a mask of each kind, (K, N), at points of vectors, (N, 256)."""
    hidden = np.maximum(vectors @ learned["hidden_weight"] + learned["hidden_bias"], 0)
    rates: FloatArray = -np.logaddexp(0, -(hidden @ learned["output_weight"] + learned["output_bias"])).T
    return rates
