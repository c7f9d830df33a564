"""The networks in PyTorch."""

from mobilesam.optional import import_torch

import_torch("mobilesam.modeling")

from mobilesam.modeling.image_encoder import ImageEncoderViT  # noqa: E402
from mobilesam.modeling.mask_decoder import MaskDecoder  # noqa: E402
from mobilesam.modeling.prompt_encoder import PromptEncoder  # noqa: E402
from mobilesam.modeling.sam import Sam  # noqa: E402
from mobilesam.modeling.tiny_vit_sam import TinyViT  # noqa: E402
from mobilesam.modeling.transformer import TwoWayTransformer  # noqa: E402

__all__ = ["ImageEncoderViT", "MaskDecoder", "PromptEncoder", "Sam", "TinyViT", "TwoWayTransformer"]
