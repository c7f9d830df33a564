"""The learned chooser of a box: the IoU to expect of each of the decoder's four masks.

Its features are those of :mod:`mobilesam.masks.chooser`, of a click at the center of the box, and how each mask fits
the box. ``python -m benchmarks.chooser learn --boxes`` learns it; docs/accuracy.md has the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.arrays import BoolArray, FloatArray, FloatArray64
from mobilesam.config import MASK_THRESHOLD
from mobilesam.learned import LearnedFile
from mobilesam.masks import chooser

FILE = LearnedFile(
    Path(__file__).with_name("box_chooser.npz"),
    sha256="41ea71e1cfb812d0d656bad15e239d821e05ad5a9b74335c46f555a072c3b910",
    form="mobilesam-box-chooser-1",
    name="chooser of boxes",
    instead="take the single mask (select='single', --select single)",
)

_FIT = 7  # features of each mask
FEATURES = chooser.FEATURES + chooser.MASKS * _FIT
LARGEST_DIFFERENCE = 2.0  # of an edge, in sides of the box


def confidences(
    low_res_logits: FloatArray,
    iou_predictions: FloatArray,
    corners: FloatArray | FloatArray64,
    input_hw: tuple[int, int],
    image_size: int = 1024,
    learned: Mapping[str, Any] | None = None,
) -> FloatArray:
    """Return the IoU to expect between each mask and the object in a box, (4,) float32 in 0..1.

    Args:
        corners: (2, 2), x y of the upper left and of the lower right corner in pixels of the model frame; they may lie
            outside the image.
        low_res_logits, iou_predictions, input_hw, image_size, learned: as in
            :func:`mobilesam.masks.chooser.confidences`.

    Raises:
        WeightsError: the file of the chooser is damaged.
    """
    values = features_of(low_res_logits, iou_predictions, corners, input_hw, image_size)
    return chooser.expected_ious(values, FILE.arrays if learned is None else learned)


def features_of(
    low_res_logits: FloatArray,
    iou_predictions: FloatArray,
    corners: FloatArray | FloatArray64,
    input_hw: tuple[int, int],
    image_size: int,
) -> FloatArray:
    """Return the features of four masks, (F,) float32; the arguments are those of :func:`confidences`."""
    placed = np.asarray(corners, np.float64)
    of_masks = chooser.features_of(low_res_logits, iou_predictions, placed.mean(axis=0), input_hw, image_size)
    side = low_res_logits.shape[-1]
    logit = image_size // side
    rows, columns = (-(-length // logit) for length in input_hw)
    masks = low_res_logits[:, :rows, :columns] > MASK_THRESHOLD
    box = np.clip((placed.ravel() + 0.5) / logit - 0.5, 0, side - 1)
    return np.concatenate([of_masks, *(_fit(mask, box, side) for mask in masks)]).astype(np.float32)


def _fit(mask: BoolArray, box: FloatArray64, side: int) -> FloatArray:
    """Return how a mask fits a box, x1 y1 x2 y2 in logits, (7,).

    They are the share of the mask in the box, the share of the box that it fills, the IoU of its own box with it, and
    the differences of the four edges in sides of the box.
    """
    places = np.arange(side)
    across, down = ((places >= box[axis] - 0.5) & (places <= box[axis + 2] + 0.5) for axis in (0, 1))
    height, width = mask.shape
    inside = np.count_nonzero(mask[down[:height]][:, across[:width]])
    area, size = int(np.count_nonzero(mask)), int(np.count_nonzero(down) * np.count_nonzero(across))
    values = np.zeros(_FIT, np.float32)
    values[:2] = inside / max(area, 1), inside / max(size, 1)
    filled_rows, filled_columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(filled_rows):
        own = np.array([filled_columns[0], filled_rows[0], filled_columns[-1] + 1, filled_rows[-1] + 1]) - 0.5
        shared = float(np.prod(np.maximum(np.minimum(own[2:], box[2:]) - np.maximum(own[:2], box[:2]), 0)))
        areas = float(np.prod(own[2:] - own[:2]) + np.prod(box[2:] - box[:2]))
        sides = np.tile(np.maximum(box[2:] - box[:2], 1), 2)
        values[2] = shared / max(areas - shared, 1.0)
        values[3:] = np.clip((own - box) / sides, -LARGEST_DIFFERENCE, LARGEST_DIFFERENCE)
    return values
