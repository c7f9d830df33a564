"""Recognize the network of a checkpoint by its keys and shapes, for error messages."""

from __future__ import annotations

from collections.abc import Mapping

from mobilesam.config import DEFAULT
from mobilesam.weights.state_dict import Shape, variant_of

_SHOWN = 5
_TELLING_KEYS = (
    ("mask_decoder.hf_token.weight", "a HQ-SAM checkpoint"),
    ("sam_mask_decoder.", "a SAM 2 checkpoint"),
    ("vision_encoder.", "a SAM checkpoint in the layout of the transformers package"),
    ("image_encoder.features.", "a RepViT-SAM or EdgeSAM checkpoint"),
    ("model.22.", "a YOLOv8 or FastSAM checkpoint"),
)


def describe(shapes: Mapping[str, Shape]) -> str:
    """Return what tensors of these shapes are, as "a SAM checkpoint of size vit_h", or at least their number."""
    position = shapes.get("image_encoder.pos_embed", ())
    if len(position) == 4:
        variant = variant_of(shapes)
        size = f"width {position[-1]}" if variant == DEFAULT else f"size {variant}"
        family = "HQ-SAM" if "mask_decoder.hf_token.weight" in shapes else "SAM"
        return f"a {family} checkpoint of {size}"
    for start, name in _TELLING_KEYS:
        if _has(shapes, start):
            return name
    if "image_encoder.patch_embed.seq.0.c.weight" in shapes:
        return "a MobileSAM checkpoint" if _has(shapes, "mask_decoder.") else "a MobileSAM image encoder alone"
    if "patch_embed.seq.0.c.weight" in shapes:
        return "a MobileSAM image encoder alone" if _has(shapes, "neck.") else "a TinyViT image classifier"
    if _has(shapes, "mask_decoder.") or _has(shapes, "prompt_encoder."):
        return "a part of a SAM checkpoint, without a TinyViT image encoder"
    first = f", the first named {min(shapes)!r}" if shapes else ""
    return f"{len(shapes)} tensors of an unknown network{first}"


def difference(expected: Mapping[str, Shape], actual: Mapping[str, Shape]) -> str:
    """Return the numbers of missing, unexpected and misshapen tensors, with the first five names of each, or ""."""
    missing = [key for key in expected if key not in actual]
    unexpected = [key for key in actual if key not in expected]
    reshaped = [
        f"{key} {tuple(actual[key])} instead of {tuple(shape)}"
        for key, shape in expected.items()
        if key in actual and tuple(actual[key]) != tuple(shape)
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    return ", ".join(
        f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''})"
        for kind, names in kinds.items()
        if names
    )


def _has(shapes: Mapping[str, Shape], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in shapes)
