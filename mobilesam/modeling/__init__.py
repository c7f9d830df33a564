"""The networks in PyTorch."""

from mobilesam.modeling.mask_decoder import MaskDecoder
from mobilesam.modeling.prompt_encoder import PromptEncoder
from mobilesam.modeling.sam import Sam
from mobilesam.modeling.tiny_vit import TinyViT
from mobilesam.modeling.transformer import TwoWayTransformer

__all__ = ["MaskDecoder", "PromptEncoder", "Sam", "TinyViT", "TwoWayTransformer"]
