"""Training steps, and the weights that are measured and written: averaged, and blended with the original ones.

What a step draws depends on the seed and the number of the step alone, so a run that was stopped goes on with the same
images and prompts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mobilesam.arrays import FloatArray
from mobilesam.config import MASK_THRESHOLD
from mobilesam.finetune import losses, prompts, trainable
from mobilesam.finetune.distillation import Teacher
from mobilesam.finetune.embeddings import FeatureFolder
from mobilesam.finetune.network import PromptBatch, decode, embed
from mobilesam.finetune.objects import Target
from mobilesam.finetune.settings import Settings
from mobilesam.geometry import covered_tokens
from mobilesam.modeling import Sam

IMAGES, PROMPTS = 2, 4  # of a step; the prompts of an image together
REFINED = 0.4  # share of the prompts that are corrected once, with the mask fed back
WINDOW = 1.0  # weight of the loss around an object
SINGLE_OF_CLICK = 0.5  # weight of the single mask of a click
WARM_UP = 50  # steps, at most a quarter of the run
DECAY, LARGEST_GRADIENT = 1e-4, 1.0
AVERAGE = 0.98  # of the exponential average of the weights
# How far the weights that are measured and written go from the original ones to the averaged ones. Most of what is
# learned remains, and less of what is learned by heart (Wortsman et al. 2022, WiSE-FT), as few objects are soon.
BLEND, BLEND_OF_FEW = 0.8, 0.5
FEW_OBJECTS = 50
LEAST_RATE = 0.01  # of the learning rate, at the end


@dataclass(frozen=True, eq=False)
class TrainedImage:
    """An encoded image, its (height, width) in the model frame, and its objects.

    name: of its file. view: see :mod:`mobilesam.finetune.views`.
    features: see :class:`mobilesam.finetune.embeddings.FeatureFolder`.
    """

    name: str
    view: int
    features: Path
    input_hw: tuple[int, int]
    targets: Sequence[Target]


class Trainer:
    """A network in training.

    Args:
        sam: changed in place.
        images: with at least one object each.
        steps: of the whole run.
    """

    def __init__(self, sam: Sam, images: Sequence[TrainedImage], settings: Settings, steps: int) -> None:
        self.sam, self.settings, self.step = sam, settings, 0
        self._warm_up = max(1, min(WARM_UP, steps // 4))
        self._images = images
        objects = sum(len(image.targets) for image in images if image.view == 0)
        self._blend = BLEND if objects >= FEW_OBJECTS else BLEND_OF_FEW
        self._parameters = trainable.prepare(sam, lora=settings.lora, neck=settings.neck, seed=settings.seed)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=settings.rate, weight_decay=DECAY)
        self._original = [parameter.detach().clone() for parameter in self._parameters]
        self._average = [parameter.detach().clone() for parameter in self._parameters]

    def advance(self, progress: float, teacher: Teacher | None = None) -> float:
        """Take a step, and return its loss.

        Args:
            progress: how much of the run is done, 0 to 1, on which the learning rate depends.
            teacher: adds the gradients against forgetting.
        """
        random = np.random.default_rng([self.settings.seed, self.step])
        for group in self._optimizer.param_groups:
            cosine = LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * min(progress, 1))) / 2
            group["lr"] = self.settings.rate * min(1.0, (self.step + 1) / self._warm_up) * cosine
        self._optimizer.zero_grad()
        losses_of = [self._learn(image, random) for image in self._drawn()]
        if teacher is not None:
            teacher.learn(self.sam, random)
        torch.nn.utils.clip_grad_norm_(self._parameters, LARGEST_GRADIENT)
        self._optimizer.step()
        self.step += 1
        share = min(AVERAGE, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, parameter in zip(self._average, self._parameters, strict=True):
                mean.lerp_(parameter, 1 - share)
        return float(np.mean(losses_of))

    @contextmanager
    def blended(self) -> Iterator[Sam]:
        """Give the network the weights of :meth:`blend` within this context."""
        own = [parameter.detach().clone() for parameter in self._parameters]
        self.set(self.blend())
        try:
            yield self.sam
        finally:
            self.set(own)

    def blend(self) -> list[Tensor]:
        """Return the blend of original and averaged weights, in the order of the parameters."""
        return [own.lerp(mean, self._blend) for own, mean in zip(self._original, self._average, strict=True)]

    def state(self) -> dict[str, Any]:
        """Return what continues the training, as nested containers of tensors and numbers."""
        return {
            "step": self.step,
            "parameters": [parameter.detach().clone() for parameter in self._parameters],
            "average": [mean.clone() for mean in self._average],
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` returned."""
        self.set(state["parameters"])
        self._average = [mean.to(self.sam.device) for mean in state["average"]]
        self._optimizer.load_state_dict(dict(state["optimizer"]))
        self.step = state["step"]

    def set(self, values: Sequence[Tensor]) -> None:
        """Give the trained parameters these values."""
        with torch.no_grad():
            for parameter, value in zip(self._parameters, values, strict=True):
                parameter.copy_(value)

    def _drawn(self) -> Iterator[TrainedImage]:
        """Yield the images of this step: all of them in random order, then in another one."""
        count = len(self._images)
        for number in range(self.step * IMAGES, (self.step + 1) * IMAGES):
            order = np.random.default_rng([self.settings.seed, number // count, count]).permutation(count)
            yield self._images[order[number % count]]

    def _learn(self, image: TrainedImage, random: np.random.Generator) -> float:
        """Add the gradients of prompts of an image, and of their corrections."""
        order = random.permutation(len(image.targets))
        targets = [image.targets[order[place % len(order)]] for place in range(PROMPTS)]
        config = self.sam.config
        coverages = [target.coverage(config.image_size, config.logits_size) for target in targets]
        truth = torch.from_numpy(np.stack(coverages))[:, None].to(self.sam.device)
        boxes: FloatArray | None = None
        points: list[prompts.Points] = [[] for _ in targets]
        if random.random() < 0.5:
            boxes = np.stack([prompts.draw_box(target, random) for target in targets])
        else:
            points = [[prompts.draw_click(target, random)] for target in targets]
        features = FeatureFolder.read(image.features)
        batch = PromptBatch(None if boxes is not None else prompts.stack(points), boxes)
        outputs = decode(self.sam, embed(self.sam, features, neck=self.settings.neck), batch)
        compared = self._compare(outputs.logits, truth, image, targets)
        single = compared.masks[:, 0] + (outputs.ious[:, 0] - compared.ious[:, 0]) ** 2
        candidates = losses.ambiguous(compared.masks[:, 1:], outputs.ious[:, 1:], compared.ious[:, 1:])
        loss = (single if boxes is not None else SINGLE_OF_CLICK * single + candidates).mean() / IMAGES
        loss.backward()
        if random.random() < REFINED:
            first = 0 if boxes is not None else 1
            chosen = first + outputs.ious[:, first or None : None if first else 1].argmax(1)
            logits = outputs.logits.detach()[torch.arange(len(targets)), chosen]
            keep_box = boxes if random.random() < 0.5 else None
            self._refine(image, features, truth, targets, points, keep_box, logits)
        return float(loss.detach()) * IMAGES

    def _refine(
        self,
        image: TrainedImage,
        features: Tensor,
        truth: Tensor,
        targets: Sequence[Target],
        points: Sequence[prompts.Points],
        boxes: FloatArray | None,
        logits: Tensor,
    ) -> None:
        """Add the gradients of prompts with a click on the largest error of ``logits``, (B, 256, 256)."""
        errors = [
            prompts.correction(mask, coverage, self.sam.config.image_size)
            for mask, coverage in zip((logits > MASK_THRESHOLD).cpu().numpy(), truth[:, 0].cpu().numpy(), strict=True)
        ]
        corrected = prompts.stack([[*own, click] for own, click in zip(points, errors, strict=True)])
        embedding = embed(self.sam, features, neck=self.settings.neck)
        outputs = decode(self.sam, embedding, PromptBatch(corrected, boxes, logits[:, None]), 1)
        compared = self._compare(outputs.logits, truth, image, targets)
        loss = compared.masks[:, 0] + (outputs.ious[:, 0] - compared.ious[:, 0]) ** 2
        (loss.mean() / IMAGES).backward()

    def _compare(
        self, logits: Tensor, truth: Tensor, image: TrainedImage, targets: Sequence[Target]
    ) -> losses.MaskLosses:
        """Return the losses of masks, (B, C, 256, 256), on the part that the image covers."""
        config = self.sam.config
        rows, columns = covered_tokens(image.input_hw, config.image_size, config.grid_size)
        covered = np.s_[..., : 4 * rows, : 4 * columns]
        compared = losses.mask_losses(logits[covered], truth[covered])
        around = losses.window_losses(logits, targets, config.image_size)
        return compared._replace(masks=compared.masks + WINDOW * around)
