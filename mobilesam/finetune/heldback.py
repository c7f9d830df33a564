"""The score on held-back images, in the model frame: quick enough to be measured often."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from mobilesam.arrays import BoolArray, FloatArray
from mobilesam.config import MULTIMASK
from mobilesam.evaluate.clicks import center_click
from mobilesam.evaluate.metrics import iou
from mobilesam.finetune.embeddings import FeatureFolder
from mobilesam.finetune.network import PromptBatch, decode, embed
from mobilesam.finetune.training import TrainedImage
from mobilesam.masks.upsampling import upsample
from mobilesam.modeling import Sam


class Score(NamedTuple):
    """Mean IoUs: box, of the single mask; point, of the candidate with the highest predicted IoU; best, of the best."""

    box: float
    point: float
    best: float

    @property
    def mean(self) -> float:
        """What training maximizes: the mean of box and point."""
        return (self.box + self.point) / 2


@torch.no_grad()
def measure(sam: Sam, images: Sequence[TrainedImage], *, neck: bool) -> Score:
    """Return the mean IoUs over all objects of images."""
    config, every = sam.config, []
    for image in images:
        embedding = embed(sam, FeatureFolder.read(image.features), neck=neck)
        for target in image.targets:
            height, width = image.input_hw
            truth = target.mask(config.image_size)[:height, :width]
            center = center_click(truth)
            click = np.array([[[center.x, center.y]]], np.float32), np.ones((1, 1), np.float32)
            by_box = decode(sam, embedding, PromptBatch(boxes=target.box[None].astype(np.float32)), 1)
            by_point = decode(sam, embedding, PromptBatch(click))
            ious = [iou(_mask(logits, image.input_hw, config.image_size), truth)
                    for logits in (*by_box.logits[0], *by_point.logits[0, 1:])]  # fmt: skip
            chosen = int(by_point.ious[0, list(MULTIMASK)].argmax())
            every.append((ious[0], ious[1 + chosen], max(ious[1:])))
    return Score(*(statistics.fmean(column) for column in zip(*every, strict=True)))


def _mask(logits: torch.Tensor, input_hw: tuple[int, int], size: int) -> BoolArray:
    low_res: FloatArray = logits.float().cpu().numpy()
    mask: BoolArray = upsample(low_res, input_hw, input_hw, size, threshold=0.0)  # type: ignore[assignment]
    return mask
