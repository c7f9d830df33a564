"""A checkpoint of other weights with choosers of its own: the published ones, changed a little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mobilesam import weights
from mobilesam.learned import Learned, LearnedArrays
from mobilesam.masks import choosers
from mobilesam.masks.choosers import PUBLISHED, Choosers
from mobilesam.weights import checkpoint

POINT, BOX = (300.0, 200.0), (100.0, 50.0, 400.0, 300.0)  # in the photo of the cup
PROMPTS: tuple[dict[str, Any], ...] = ({"point_coords": [POINT], "point_labels": [1]}, {"box": BOX})


def write_tuned(folder: Path, name: str = "tuned.safetensors", *, with_choosers: bool = True) -> Path:
    """Write a checkpoint with some other weights in the decoder, and the file of its choosers, and return its path."""
    state = dict(checkpoint.read(weights.ensure()).state)
    for key in ("mask_decoder.iou_token.weight", "mask_decoder.mask_tokens.weight"):
        state[key] = state[key] * np.float32(1.02)
    path = folder / name
    checkpoint.write(path, state)
    if with_choosers:
        choosers.write(choosers.file_of(path), own_choosers(checkpoint.state_digest(state)))
    return path


def own_choosers(weights_id: str) -> Choosers:
    """Return choosers of weights."""
    return Choosers(*(changed(each, weights_id) for each in PUBLISHED))


def changed(learned: Learned, weights_id: str) -> LearnedArrays:
    """Return a chooser with other parameters."""
    random = np.random.default_rng(0)
    arrays = {name: array for name, array in learned.arrays.items() if array.dtype.kind == "f"}
    for name in ("hidden_weight", "output_weight", "linear_weight", "output_bias"):
        arrays[name] = arrays[name] + random.normal(0, 0.05, arrays[name].shape).astype(np.float32)
    return LearnedArrays(arrays | {"weights_ids": np.array([weights_id])})
