"""Build networks by name, as segment_anything does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from mobilesam.config import VARIANTS
from mobilesam.errors import CheckpointError, InputError, sentence, unknown_name
from mobilesam.masks import choosers
from mobilesam.modeling import Sam
from mobilesam.weights import checkpoint as checkpoints

StrPath = str | os.PathLike[str]


def build_sam_vit_t(checkpoint: StrPath | None = None) -> Sam:
    """Build MobileSAM's network, on the CPU and in eval mode.

    Args:
        checkpoint: a file for :func:`mobilesam.weights.checkpoint.read`: the official .pt, a .safetensors, or the
            folder of an ONNX pair. None gives an untrained network, as in the reference, with a warning.

    Raises:
        CheckpointError: the file is not a checkpoint of this network.
    """
    return _build("vit_t", checkpoint)


def build_sam_vit_b(checkpoint: StrPath | None = None) -> Sam:
    """Build SAM's network with the encoder ViT-B; see :func:`build_sam_vit_t`."""
    return _build("vit_b", checkpoint)


def build_sam_vit_l(checkpoint: StrPath | None = None) -> Sam:
    """Build SAM's network with the encoder ViT-L; see :func:`build_sam_vit_t`."""
    return _build("vit_l", checkpoint)


def build_sam_vit_h(checkpoint: StrPath | None = None) -> Sam:
    """Build SAM's network with the encoder ViT-H; see :func:`build_sam_vit_t`."""
    return _build("vit_h", checkpoint)


def from_checkpoint(checkpoint: checkpoints.Checkpoint) -> Sam:
    """Build the network of a checkpoint that has been read, on the CPU and in eval mode."""
    sam = Sam(VARIANTS[checkpoint.variant])
    checkpoints.load_into(sam, checkpoint)
    return sam


def _build(variant: str, checkpoint: StrPath | None) -> Sam:
    if checkpoint is None:
        warnings.warn(
            "build_sam() without a checkpoint gives an untrained network; mobilesam.load() fetches the trained one",
            stacklevel=3,
        )
        return Sam(VARIANTS[variant])
    content = checkpoints.read(Path(checkpoint))
    if content.variant != variant:
        remedy = f"build it with sam_model_registry[{content.variant!r}]"
        raise CheckpointError(sentence("checkpoint", f"be one of {variant}", content.description, remedy))
    sam = from_checkpoint(content)
    sam.choosers = choosers.find(Path(checkpoint), lambda: content.weights_id)
    return sam


build_sam = build_sam_vit_t


class _Registry(dict[str, Callable[..., Sam]]):
    def __missing__(self, name: str) -> Callable[..., Sam]:
        raise InputError(unknown_name("model type", name, self))


sam_model_registry: dict[str, Callable[..., Sam]] = _Registry(
    default=build_sam_vit_t,
    vit_t=build_sam_vit_t,
    vit_b=build_sam_vit_b,
    vit_l=build_sam_vit_l,
    vit_h=build_sam_vit_h,
)
