"""The three networks as one module, with the attributes of segment_anything's Sam."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobilesam.config import MASK_THRESHOLD, EncoderConfig, SamConfig
from mobilesam.image.model_input import PIXEL_MEAN, PIXEL_STD
from mobilesam.masks.choosers import PUBLISHED, Choosers
from mobilesam.modeling.image_encoder import ImageEncoderViT
from mobilesam.modeling.mask_decoder import MaskDecoder
from mobilesam.modeling.prompt_encoder import PromptEncoder
from mobilesam.modeling.tiny_vit_sam import TinyViT


class Sam(nn.Module):
    """An image encoder, a prompt encoder and a mask decoder; built in eval mode.

    choosers: those of its checkpoint, see :attr:`mobilesam.model.MaskModel.choosers`.
    """

    mask_threshold: float = MASK_THRESHOLD
    image_format: str = "RGB"
    choosers: Choosers = PUBLISHED
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = _image_encoder(config)
        self.prompt_encoder = PromptEncoder(config)
        self.mask_decoder = MaskDecoder(config)
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(-1, 1, 1), persistent=False)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.pixel_mean.device

    def preprocess(self, x: Tensor) -> Tensor:
        """Normalize pixels, (..., 3, h, w) in 0..255, and pad with zeros to the right and below to the square."""
        size = self.config.image_size
        x = (x - self.pixel_mean) / self.pixel_std
        return F.pad(x, (0, size - x.shape[-1], 0, size - x.shape[-2]))

    def postprocess_masks(self, masks: Tensor, input_size: tuple[int, ...], original_size: tuple[int, ...]) -> Tensor:
        """Resize low-resolution logits, (B, C, 256, 256), to the original image.

        Args:
            input_size: (height, width) in the model frame, without the padding.
            original_size: (height, width) of the original image.

        Returns:
            (B, C, H, W) logits.
        """
        size = (self.config.image_size, self.config.image_size)
        masks = F.interpolate(masks, size, mode="bilinear", align_corners=False)
        masks = masks[..., : input_size[0], : input_size[1]]
        return F.interpolate(masks, tuple(original_size), mode="bilinear", align_corners=False)

    @torch.no_grad()
    def forward(self, batched_input: list[dict[str, Any]], multimask_output: bool) -> list[dict[str, Tensor]]:
        """Segment several images, each with its own prompts.

        Args:
            batched_input: one dict per image: ``image`` (3, h, w), resized to the model frame; ``original_size``
                (height, width); and optionally ``point_coords`` (B, N, 2) and ``point_labels`` (B, N), ``boxes``
                (B, 4), in the model frame, ``mask_inputs`` (B, 1, 256, 256).
            multimask_output: three masks per prompt instead of one.

        Returns:
            One dict per image: ``masks`` (B, C, H, W) bool, ``iou_predictions`` (B, C), ``low_res_logits``
            (B, C, 256, 256).
        """
        images = torch.stack([self.preprocess(record["image"]) for record in batched_input])
        image_pe = self.prompt_encoder.get_dense_pe()
        outputs = []
        for record, embedding in zip(batched_input, self.image_encoder(images), strict=True):
            points = (record["point_coords"], record["point_labels"]) if "point_coords" in record else None
            sparse, dense = self.prompt_encoder(points, record.get("boxes"), record.get("mask_inputs"))
            low_res, iou_predictions = self.mask_decoder(
                embedding.unsqueeze(0), image_pe, sparse, dense, multimask_output
            )
            masks = self.postprocess_masks(low_res, record["image"].shape[-2:], record["original_size"])
            masks = masks > self.mask_threshold
            outputs.append({"masks": masks, "iou_predictions": iou_predictions, "low_res_logits": low_res})
        return outputs


def _image_encoder(config: SamConfig) -> TinyViT | ImageEncoderViT:
    if isinstance(config.encoder, EncoderConfig):
        return TinyViT(config.encoder, config.image_size, config.embed_dim)
    return ImageEncoderViT(config.encoder, config.image_size, config.embed_dim)
