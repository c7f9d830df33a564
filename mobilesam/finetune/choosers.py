"""The choosers of a tuned network: learned on its masks of the user's objects, and kept if they help.

The network was trained on most of these objects, and its masks of them are better than those of others. So whether a
chooser helps is measured on held-back images alone, by choosers that are learned without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mobilesam.arrays import Array, BoolArray, FloatArray, FloatArray64, IntArray
from mobilesam.config import MULTIMASK, SINGLE_MASK
from mobilesam.evaluate.metrics import calibration, calibration_error
from mobilesam.finetune.chooser_learning import Recipe, learn, predict
from mobilesam.finetune.chooser_rows import Row, make_rows
from mobilesam.finetune.embeddings import FeatureFolder
from mobilesam.finetune.network import embed
from mobilesam.finetune.objects import Target
from mobilesam.finetune.training import TrainedImage
from mobilesam.learned import LearnedArrays
from mobilesam.masks.choosers import Choosers
from mobilesam.model import Embedding
from mobilesam.modeling.torch_sam import TorchSam

LEAST_HELD_BACK = 20  # objects, to tell whether a chooser helps
MOST_OBJECTS = 400  # that are decoded: 45 s on 2 cores
_MOST_HELD_BACK = 150  # of these
_TRAINING_WEIGHT = 0.5  # of a prompt on an object that the network was trained on
_RECIPE = Recipe(hidden=8, least_steps=400, decay=0.5, alpha=3.0, residual=True)
_FALLBACK = {"point": "agreement", "box": "single"}  # without a chooser

_Drawn = tuple[TrainedImage, Sequence[Target]]


@dataclass(frozen=True, eq=False)
class _Rows:
    """N prompts: the fields of :class:`mobilesam.finetune.chooser_rows.Row`, and which are on held-back images."""

    features: FloatArray
    truth: FloatArray
    predicted: FloatArray
    agreement: IntArray
    inmost: BoolArray
    held_back: BoolArray

    def __getitem__(self, part: BoolArray) -> _Rows:
        return _Rows(*(getattr(self, name)[part] for name in self.__dataclass_fields__))

    @property
    def weight(self) -> FloatArray64:
        """(N,): inmost clicks weigh as much as random ones, and exact boxes as much as inexact ones."""
        inmost = int(np.count_nonzero(self.inmost))
        return np.where(self.inmost, 1.0, inmost / max(1, len(self.inmost) - inmost))

    def rule(self, name: str) -> IntArray:
        """Return the index of the mask of each prompt by a rule."""
        if name == "agreement":
            return self.agreement
        if name == "single":
            return np.full(len(self.truth), SINGLE_MASK[0])
        best: IntArray = MULTIMASK[0] + self.predicted[:, list(MULTIMASK)].argmax(axis=1)
        return best


def refit(
    model: TorchSam,
    training: Sequence[TrainedImage],
    held_back: Sequence[TrainedImage],
    *,
    weights_id: str,
    seed: int,
    neck: bool = False,
) -> tuple[Choosers | None, dict[str, Any]]:
    """Learn the choosers of a tuned network, and return those that help, or None, and facts about them.

    The facts are JSON values: the numbers of objects, and, of clicks ("point") and boxes ("box"), whether the chooser
    is kept, and on the held-back images the mean true IoU by rule and the calibration errors.

    Args:
        model: the tuned network.
        training: the images that it was trained on; versions other than the images themselves are not used.
        held_back: images that it was not trained on.
        weights_id: digest of its weights.
        seed: of all random choices.
        neck: whether the features of images are the input of the encoder's neck.
    """
    random = np.random.default_rng(seed)
    parts = [image for image in training if image.view == 0], held_back
    objects = dict(
        zip(("training", "held back"), (sum(len(image.targets) for image in part) for part in parts), strict=True)
    )
    if objects["held back"] < LEAST_HELD_BACK:
        reason = f"fewer than {LEAST_HELD_BACK} objects are held back"
        return None, {"objects": objects, **{kind: {"kept": False, "reason": reason} for kind in _FALLBACK}}
    tested = _draw(parts[1], _MOST_HELD_BACK, random)
    others = _draw(parts[0], MOST_OBJECTS - _count(tested), random)
    rows = _decode(model, others, tested, random, neck=neck)
    facts: dict[str, Any] = {"objects": {"training": _count(others), "held back": _count(tested)}}
    kept = {}
    for kind, each in rows.items():
        arrays, facts[kind] = _learn(each, _FALLBACK[kind], replace(_RECIPE, seed=seed))
        if arrays is not None:
            kept[kind] = LearnedArrays({**arrays, "weights_ids": np.array([weights_id])})
    return (Choosers(**kept) if kept else None), facts


def _draw(images: Sequence[TrainedImage], most: int, random: np.random.Generator) -> list[_Drawn]:
    """Return at most ``most`` objects, drawn from all images, by image."""
    every = [(place, target) for place, image in enumerate(images) for target in image.targets]
    drawn: dict[int, list[Target]] = {}
    for number in sorted(random.permutation(len(every))[:most].tolist()):
        place, target = every[number]
        drawn.setdefault(place, []).append(target)
    return [(images[place], targets) for place, targets in drawn.items()]


def _count(drawn: Sequence[_Drawn]) -> int:
    return sum(len(targets) for _, targets in drawn)


def _decode(
    model: TorchSam, training: Sequence[_Drawn], held_back: Sequence[_Drawn], random: np.random.Generator, *, neck: bool
) -> dict[str, _Rows]:
    """Return the rows of clicks and of boxes on objects."""
    rows: dict[str, list[tuple[Row, bool]]] = {kind: [] for kind in _FALLBACK}
    for held, drawn in ((False, training), (True, held_back)):
        for image, targets in drawn:
            height, width = image.input_hw
            masks = [target.mask(model.image_size)[:height, :width] for target in targets]
            features = embed(model.sam, FeatureFolder.read(image.features), neck=neck)
            embedding = Embedding(model.load_features(features), image.input_hw, image.input_hw)
            for kind, own in rows.items():
                own += [(row, held) for row in make_rows(model, embedding, masks, random, boxes=kind == "box")]
    return {
        kind: _Rows(*(np.array(column) for column in zip(*((*row, held) for row, held in own), strict=True)))
        for kind, own in rows.items()
    }


def _learn(rows: _Rows, fallback: str, recipe: Recipe) -> tuple[Mapping[str, Array] | None, dict[str, Any]]:
    """Return the arrays of a chooser if one that is learned without the held-back rows helps there, and facts."""
    held = rows[rows.held_back]
    expected = predict(_learned(rows[~rows.held_back], recipe), held.features)
    weight, row = held.weight, np.arange(len(held.truth))
    chosen = {name: held.rule(name) for name in ("agreement", "score", "single")} | {"chooser": expected.argmax(axis=1)}
    mean = {name: float(np.average(held.truth[row, masks], weights=weight)) for name, masks in chosen.items()}
    mean["best"] = float(np.average(held.truth.max(axis=1), weights=weight))
    before, after = (
        calibration_error(calibration(values[row, chosen[name]].tolist(), held.truth[row, chosen[name]].tolist()))
        for name, values in ((fallback, held.predicted), ("chooser", expected))
    )
    kept = mean["chooser"] >= mean[fallback]
    facts = {
        "kept": kept,
        "reason": "" if kept else f"it is worse than {fallback} on the held-back images",
        "prompts": {"training": len(rows.truth) - len(row), "held back": len(row)},
        "mean IoU": mean,
        "calibration error": {"before": before, "after": after},
    }
    return (_learned(rows, recipe) if kept else None), facts


def _learned(rows: _Rows, recipe: Recipe) -> dict[str, Array]:
    return learn(rows.features, rows.truth, rows.weight * np.where(rows.held_back, 1.0, _TRAINING_WEIGHT), recipe)
