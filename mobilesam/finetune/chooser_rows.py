"""Clicks and boxes on annotated objects, with the features of their four masks and the true IoUs, to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mobilesam.arrays import BoolArray, FloatArray, FloatArray64
from mobilesam.config import ALL_MASKS
from mobilesam.evaluate.clicks import center_click
from mobilesam.evaluate.metrics import iou, tight_box
from mobilesam.masks import box_chooser, chooser
from mobilesam.masks.selection import choose
from mobilesam.masks.upsampling import upsample
from mobilesam.model import Embedding, MaskModel
from mobilesam.prompts.arrays import Prompts, make_prompts

RANDOM_CLICKS = 3  # of an object, beside the inmost one
INEXACT = (0.05, 0.1)  # how far the edges of an inexact box are moved, in its sides


class Row(NamedTuple):
    """A prompt of an object.

    features: (F,). truth: (4,), true IoUs. predicted: (4,), predicted IoUs. agreement: the index of the mask by that
    rule. inmost: whether it is the inmost pixel of the object, or its exact box.
    """

    features: FloatArray
    truth: FloatArray
    predicted: FloatArray
    agreement: int
    inmost: bool


def make_rows(
    model: MaskModel, embedding: Embedding, masks: Sequence[BoolArray], random: np.random.Generator, *, boxes: bool
) -> Iterator[Row]:
    """Yield the rows of two boxes of each object, the exact one first; or of clicks, the inmost one first.

    Args:
        masks: the objects, (H, W) each, in the image as given.
    """
    frame = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    for mask in masks:
        if boxes:
            exact = tight_box(mask)
            prompts, _ = make_prompts(box=[exact, _inexact(exact, random)], **frame)
        else:
            center = center_click(mask)
            points = [(center.x, center.y), *_random_points(mask, random)]
            prompts, _ = make_prompts([[point] for point in points], [[1]] * len(points), **frame)
        yield from _decoded(model, embedding, mask, prompts)


def _decoded(model: MaskModel, embedding: Embedding, mask: BoolArray, prompts: Prompts) -> Iterator[Row]:
    """Yield a row for each prompt of an object; the first is the inmost click or the exact box."""
    size = embedding.input_hw, model.image_size
    decoded = model.decode(embedding, prompts, ALL_MASKS)
    for place, (logits, ious, coords) in enumerate(zip(*decoded, prompts.point_coords, strict=True)):
        full = upsample(logits, embedding.input_hw, embedding.original_hw, model.image_size, threshold=0.0)
        features = (
            box_chooser.features_of(logits, ious, coords, *size)
            if prompts.single_box
            else chooser.features_of(logits, ious, coords[0], *size)
        )
        truth = np.array([iou(each, mask) for each in full], np.float32)
        yield Row(features, truth, ious, choose("agreement", logits, ious), place == 0)


def _inexact(box: FloatArray64, random: np.random.Generator) -> FloatArray64:
    """Return a box whose edges are moved by a normal of 5 to 10 % of its sides, cut off at two deviations."""
    sides = np.tile(box[2:] - box[:2], 2)
    moved = box + random.uniform(*INEXACT) * sides * random.normal(size=4).clip(-2, 2)
    return np.concatenate([np.minimum(moved[:2], moved[2:] - 2), np.maximum(moved[2:], moved[:2] + 2)])


def _random_points(mask: BoolArray, random: np.random.Generator) -> list[tuple[int, int]]:
    """Return inner points, the more likely the further inside they are."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rows, columns = np.nonzero(mask)
    weights = depth[rows, columns].astype(np.float64)
    count = min(RANDOM_CLICKS, len(rows))
    places = random.choice(len(rows), size=count, replace=False, p=weights / weights.sum())
    return [(int(columns[place]), int(rows[place])) for place in places]
