"""Training against forgetting: the masks of the original decoder, on images without annotation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mobilesam.evaluate.metrics import tight_box
from mobilesam.finetune import losses, prompts
from mobilesam.finetune.embeddings import FeatureFolder
from mobilesam.finetune.network import PromptBatch, decode, embed
from mobilesam.geometry import covered_tokens
from mobilesam.modeling import Sam

PROMPTS, WEIGHT = 2, 0.5  # of a step, beside the loss of the annotated objects
POINTS_PER_SIDE = 32  # of the grid of clicks, as in everything mode


@dataclass(frozen=True)
class KeptImage:
    """An encoded version of an image, its (height, width) in the model frame, and the number of the version."""

    features: Path
    input_hw: tuple[int, int]
    view: int = 0


class Teacher:
    """The network before training, and the images on which its masks are to stay.

    Args:
        sam: the original network, which is copied.
        kept: at least one image.
        neck: whether features are the input of the neck.
    """

    def __init__(self, sam: Sam, kept: Sequence[KeptImage], *, neck: bool) -> None:
        self._teacher = copy.deepcopy(sam).eval().requires_grad_(False)
        self._kept, self._neck = kept, neck

    def learn(self, sam: Sam, random: np.random.Generator) -> None:
        """Add the gradients of clicks on an image, or of the boxes of masks in it, to a network."""
        image = self._kept[int(random.integers(len(self._kept)))]
        height, width = image.input_hw
        places = (random.integers(POINTS_PER_SIDE, size=(PROMPTS, 2)) + 0.5) / POINTS_PER_SIDE * (width, height)
        features = FeatureFolder.read(image.features)
        rows, columns = covered_tokens(image.input_hw, sam.config.image_size, sam.config.grid_size)
        covered = np.s_[..., : 4 * rows, : 4 * columns]
        batch = PromptBatch(prompts.stack([[(x, y, 1)] for x, y in places.tolist()]))
        with torch.no_grad():
            embedding = embed(self._teacher, features, neck=self._neck)
            taught = decode(self._teacher, embedding, batch)
            if random.random() < 0.5:
                best = taught.logits[torch.arange(PROMPTS), 1 + taught.ious[:, 1:].argmax(1)] > 0
                masks = [mask for mask in best.cpu().numpy()[covered] if mask.any()]
                if masks:
                    cell = sam.config.image_size / sam.config.logits_size
                    batch = PromptBatch(boxes=np.stack([tight_box(mask) * cell for mask in masks]).astype(np.float32))
                    taught = decode(self._teacher, embedding, batch)
        outputs = decode(sam, embed(sam, features, neck=self._neck), batch)
        loss = losses.distillation(outputs.logits[covered], outputs.ious, taught.logits[covered], taught.ious)
        (WEIGHT * loss).backward()
