"""Build networks by name, as segment_anything does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from mobilesam.config import VARIANTS
from mobilesam.errors import InputError, unknown_name
from mobilesam.modeling import Sam
from mobilesam.weights import checkpoint as checkpoints


def build_sam_vit_t(checkpoint: str | os.PathLike[str] | None = None) -> Sam:
    """Build MobileSAM's network, on the CPU and in eval mode.

    Args:
        checkpoint: a file for :func:`mobilesam.weights.checkpoint.read`: the official .pt, a .safetensors, or the
            folder of an ONNX pair. None gives an untrained network, as in the reference, with a warning.

    Raises:
        CheckpointError: the file is not a MobileSAM checkpoint.
    """
    sam = Sam(VARIANTS["vit_t"])
    if checkpoint is None:
        warnings.warn(
            "build_sam() without a checkpoint gives an untrained network; mobilesam.load() fetches the trained one",
            stacklevel=2,
        )
    else:
        checkpoints.load_into(sam, checkpoints.read(Path(checkpoint)))
    return sam


build_sam = build_sam_vit_t


class _Registry(dict[str, Callable[..., Sam]]):
    def __missing__(self, name: str) -> Callable[..., Sam]:
        raise InputError(unknown_name("model type", name, self))


sam_model_registry: dict[str, Callable[..., Sam]] = _Registry(default=build_sam_vit_t, vit_t=build_sam_vit_t)
