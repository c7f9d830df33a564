"""The learned chooser: the IoU to expect of each of the decoder's four masks of one click.

It is a small network on ratios and relations of the four masks: their overlaps, how their areas depend on the
threshold, and where the click lies in them. No feature depends on the size of the image or of the object. The mask of
the highest expected IoU is chosen, and the expectation is its confidence. ``benchmarks/chooser.py`` learns it;
docs/accuracy.md has the figures and the images that it was learned on.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.arrays import Array, BoolArray, FloatArray
from mobilesam.config import ALL_MASKS, MASK_THRESHOLD
from mobilesam.learned import LearnedFile

FILE = LearnedFile(
    Path(__file__).with_name("chooser.npz"),
    sha256="f4da3c6563552927105b5020843bf523a2732757bb869f41c107095423f100ae",
    form="mobilesam-chooser-1",
    name="chooser",
    instead="select masks by agreement (select='agreement', --select agreement)",
)

MASKS = len(ALL_MASKS)
STEP = 2  # every second row and column of the logits is used
FEATURES = 104  # of four masks
OFFSETS = (1.0, 2.0, 4.0)  # of the threshold
DISKS = (0.25, 1.0, 4.0)  # areas of disks around the click, relative to the mask's
LIMIT = 3.0  # standardized features are cut off here, so that no outlier decides
LARGEST_LOG_RATIO = 6.0
LARGEST_OFFSET, LARGEST_DEPTH = 4.0, 3.0
FAR = 1e9  # a squared distance, where a mask covers the image
PAIRS = tuple(itertools.combinations(range(MASKS), 2))
ORDERED_PAIRS = tuple(itertools.permutations(range(MASKS), 2))


def confidences(
    low_res_logits: FloatArray,
    iou_predictions: FloatArray,
    point_xy: Sequence[float] | Array,
    input_hw: tuple[int, int],
    image_size: int = 1024,
    learned: Mapping[str, Any] | None = None,
) -> FloatArray:
    """Return the IoU to expect between each mask and the object that was meant, (4,) float32 in 0..1.

    Args:
        low_res_logits: (4, 256, 256), by mask index. NaN counts as outside of a mask.
        iou_predictions: (4,), the predicted IoUs. NaN counts as 0.
        point_xy: the foreground point, x y in pixels of the model frame; it may lie outside the image.
        input_hw: (height, width) of the image in the model frame.
        image_size: side of the model frame.
        learned: the arrays of a chooser; by default of that for the published weights.

    Raises:
        WeightsError: the file of the chooser is damaged.
    """
    values = features_of(low_res_logits, iou_predictions, point_xy, input_hw, image_size)
    return expected_ious(values, FILE.arrays if learned is None else learned)


def features_of(
    low_res_logits: FloatArray,
    iou_predictions: FloatArray,
    point_xy: Sequence[float] | Array,
    input_hw: tuple[int, int],
    image_size: int,
) -> FloatArray:
    """Return the features of four masks, (F,) float32; the arguments are those of :func:`confidences`."""
    logit = image_size // low_res_logits.shape[-1]  # in pixels of the model frame
    rows, columns = (-(-side // logit) for side in input_hw)
    covered = low_res_logits[:, :rows:STEP, :columns:STEP]
    x, y = (min(max(float(value), -image_size), 2.0 * image_size) for value in point_xy)
    click = (((x + 0.5) / logit - 0.5) / STEP, ((y + 0.5) / logit - 0.5) / STEP)
    return features(covered, np.nan_to_num(iou_predictions), click)


def expected_ious(values: FloatArray, learned: Mapping[str, Any]) -> FloatArray:
    """Return the expected IoUs, (..., 4), of features, (..., F): the mean of a network and of a linear function."""
    standard = np.clip((values - learned["mean"]) / learned["scale"], -LIMIT, LIMIT)
    hidden = np.maximum(standard @ learned["hidden_weight"] + learned["hidden_bias"], 0)
    network = 1 / (1 + np.exp(-(hidden @ learned["output_weight"] + learned["output_bias"])))
    linear = np.clip(standard @ learned["linear_weight"] + learned["linear_bias"], 0, 1)
    expected: FloatArray = ((network + linear) / 2).astype(np.float32)
    return expected


def features(logits: FloatArray, iou_predictions: FloatArray, click: tuple[float, float]) -> FloatArray:
    """Return the features of four masks, (F,) float32.

    Args:
        logits: (4, h, w), the part that the image covers.
        iou_predictions: (4,).
        click: x y in ``logits``, where the center of the first one is (0, 0).
    """
    count, height, width = logits.shape
    masks = logits > MASK_THRESHOLD
    weights = masks.astype(np.float32)
    flat, flat_weights = logits.reshape(count, -1), weights.reshape(count, -1)
    shared = flat_weights @ flat_weights.T
    area = np.maximum(np.diagonal(shared), 1)
    side = np.sqrt(area)
    (first, second), (one, other) = np.array(PAIRS).T, np.array(ORDERED_PAIRS).T

    # Relations between the masks.
    iou = shared / np.maximum(area[:, None] + area - shared, 1)
    agreement = (iou * iou_predictions).sum(axis=1)
    log_area = np.log(area)
    area_ratio = np.clip(log_area[first] - log_area[second], -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)

    # How the area depends on the threshold.
    narrow, wide = (
        np.stack([np.count_nonzero(flat > sign * offset, axis=1) for offset in OFFSETS], axis=1) for sign in (1, -1)
    )
    wide = np.maximum(wide, 1)
    shrink = np.concatenate([narrow / area[:, None], area[:, None] / wide], axis=1)

    # The moments of the masks about the click.
    dx, dy = _range(width) - np.float32(click[0]), _range(height) - np.float32(click[1])
    by_row, by_column = weights.sum(axis=2), weights.sum(axis=1)
    x, y = by_column @ dx / area, by_row @ dy / area
    xx = by_column @ (dx * dx) / area - x * x + 1 / 12
    yy = by_row @ (dy * dy) / area - y * y + 1 / 12
    xy = (weights @ dx) @ dy / area - x * y
    determinant = np.maximum(xx * yy - xy * xy, 1 / 144)
    spread = np.maximum((x * x * yy - 2 * x * y * xy + y * y * xx) / determinant, 0)
    offset = np.stack([np.hypot(x, y) / side, np.sqrt(spread)], axis=1)

    # How far the click is from the border, and how much of disks around it is in the mask.
    squared = (dy * dy)[:, None] + dx * dx
    reach = np.sqrt(np.where(masks, np.float32(FAR), squared).min(axis=(1, 2)))
    edge = max(min(click[0] + 1, click[1] + 1, width - click[0], height - click[1]), 0.0)
    depth = np.stack([np.minimum(reach, edge), reach], axis=1) / (side / math.sqrt(math.pi))[:, None]
    disks = [[_filled(mask, size, squared, disk) for disk in DISKS] for mask, size in zip(masks, area, strict=True)]
    groups = (
        _with_distance_to_best(iou_predictions),
        iou[first, second],
        _with_distance_to_best(agreement),
        (shared / area[:, None])[one, other],
        area_ratio,
        narrow / wide,
        shrink,
        np.minimum(offset, LARGEST_OFFSET),
        np.minimum(depth, LARGEST_DEPTH),
        np.array(disks),
    )
    return np.concatenate([np.ravel(group) for group in groups]).astype(np.float32)


def _with_distance_to_best(values: FloatArray) -> FloatArray:
    return np.stack([values, values.max() - values], axis=1)


def _filled(mask: BoolArray, area: float, squared: FloatArray, ratio: float) -> float:
    disk: BoolArray = squared < ratio * area / math.pi
    size, inside = int(np.count_nonzero(disk)), int(np.count_nonzero(disk & mask))
    return inside / min(max(size, 1), float(area))


@functools.lru_cache(maxsize=8)
def _range(length: int) -> FloatArray:
    return np.arange(length, dtype=np.float32)
