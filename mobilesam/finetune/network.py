"""Decoding with gradients: prompts of one image to the logits and predicted IoUs of all four masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mobilesam.arrays import FloatArray
from mobilesam.modeling import Sam


class Outputs(NamedTuple):
    """logits: (B, C, 256, 256); ious: (B, 4), predicted for all masks."""

    logits: Tensor
    ious: Tensor


class PromptBatch(NamedTuple):
    """B prompts of one image, in pixels of the model frame, on the CPU.

    points: (B, N, 2) coordinates and (B, N) labels, or None. boxes: (B, 4), or None. masks: (B, 1, 256, 256) logits of
    earlier masks, or None.
    """

    points: tuple[FloatArray, FloatArray] | None = None
    boxes: FloatArray | None = None
    masks: Tensor | None = None


def embed(sam: Sam, features: Tensor, *, neck: bool) -> Tensor:
    """Return the embedding of an image from its features, which are the input of the neck if ``neck`` is true."""
    features = features.to(sam.device)
    return sam.image_encoder.neck(features) if neck else features


def decode(sam: Sam, embedding: Tensor, batch: PromptBatch, count: int = 4) -> Outputs:
    """Return the first ``count`` masks of each prompt, and all predicted IoUs."""
    decoder, device = sam.mask_decoder, sam.device
    points = None if batch.points is None else tuple(_tensor(each, device) for each in batch.points)
    boxes = None if batch.boxes is None else _tensor(batch.boxes, device)
    sparse, dense = sam.prompt_encoder(points, boxes, batch.masks)
    if batch.masks is None:
        dense = dense[:1]
    scores = decoder.score(decoder.prepare(embedding, sam.prompt_encoder.get_dense_pe(), dense), sparse)
    image_tokens = scores.image_tokens.unflatten(1, (sam.config.grid_size,) * 2)
    return Outputs(decoder.upscale(scores.kernels, image_tokens, 0, count), scores.iou_predictions)


def _tensor(array: FloatArray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)
