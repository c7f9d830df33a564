"""Configurations of the model variants, and the indices and thresholds of masks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mobilesam.errors import InputError, sentence

# The masks that the decoder predicts for a prompt, by index: the single-mask output, and the multimask outputs for
# ambiguous prompts.
SINGLE_MASK = (0,)
MULTIMASK = (1, 2, 3)
ALL_MASKS = (*SINGLE_MASK, *MULTIMASK)
MASK_THRESHOLD = 0.0  # pixels of a greater logit belong to the mask
# The types in which a network computes, by NumPy's and PyTorch's names.
FLOAT32, BFLOAT16 = PRECISIONS = ("float32", "bfloat16")
STABILITY_OFFSET = 1.0  # the stability score compares the masks at thresholds this much higher and lower


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """TinyViT: one convolutional stage, then stages of windowed attention (Wu et al. 2022, table 2, TinyViT-5M)."""

    embed_dims: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (2, 4, 5, 10)
    window_sizes: tuple[int, ...] = (7, 7, 14, 7)
    strides: tuple[int, ...] = (2, 2, 1)  # between stages; the last is 1, so that a token covers 16 pixels
    expand_ratio: int = 4  # of inverted bottlenecks and MLPs alike

    def __post_init__(self) -> None:
        stages = len(self.embed_dims)
        lengths = {len(self.depths), len(self.num_heads), len(self.window_sizes), len(self.strides) + 1}
        if lengths != {stages}:
            remedy = "correct the lengths"
            raise InputError(sentence("encoder config", "have a value for each stage in every tuple", self, remedy))

    @property
    def patch_size(self) -> int:
        """Side of a token in pixels of the input: 4 from the stem, times the strides of the stages."""
        return 4 * math.prod(self.strides)


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """SAM's plain vision transformer: windowed attention, and global attention in four blocks (Li et al. 2022)."""

    embed_dim: int
    depth: int
    num_heads: int
    global_blocks: tuple[int, ...]  # which blocks attend to the whole image
    window_size: int = 14
    patch_size: int = 16
    mlp_ratio: int = 4


@dataclass(frozen=True, kw_only=True)
class SamConfig:
    """Encoder, prompt encoder and mask decoder of one variant (Kirillov et al. 2023, section A)."""

    name: str
    encoder: EncoderConfig | VitConfig = field(default_factory=EncoderConfig)
    image_size: int = 1024
    embed_dim: int = 256
    mask_channels: int = 16
    num_multimask_outputs: int = len(MULTIMASK)
    transformer_depth: int = 2
    transformer_heads: int = 8
    transformer_mlp_dim: int = 2048
    iou_head_dim: int = 256
    iou_head_depth: int = 3

    def __post_init__(self) -> None:
        if self.image_size % self.encoder.patch_size:
            requirement = f"be a multiple of {self.encoder.patch_size}"
            raise InputError(sentence("image_size", requirement, self.image_size, "round it"))

    @property
    def grid_size(self) -> int:
        """Side of the grid of image tokens: 64."""
        return self.image_size // self.encoder.patch_size

    @property
    def logits_size(self) -> int:
        """Side of the low-resolution mask logits: 256."""
        return 4 * self.grid_size


def _vit(name: str, embed_dim: int, depth: int, num_heads: int) -> SamConfig:
    blocks = tuple(range(depth // 4 - 1, depth, depth // 4))  # the last of each quarter
    encoder = VitConfig(embed_dim=embed_dim, depth=depth, num_heads=num_heads, global_blocks=blocks)
    return SamConfig(name=name, encoder=encoder)


DEFAULT = "vit_t"
VARIANTS = {
    "vit_t": SamConfig(name="vit_t"),
    "vit_b": _vit("vit_b", 768, 12, 12),
    "vit_l": _vit("vit_l", 1024, 24, 16),
    "vit_h": _vit("vit_h", 1280, 32, 16),
}
