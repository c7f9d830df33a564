"""The mask decoder in three steps: prepare image tokens, score prompts, upscale the masks that are kept.

Letters: B prompts, I images (1, or B), T prompt tokens, C masks, E width, h w the grid, L = h * w.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobilesam.config import SamConfig
from mobilesam.modeling.common import LayerNorm2d
from mobilesam.modeling.transformer import ImageTokens, TwoWayTransformer

_ABSENT_BIAS = -1e4  # in a softmax, a weight of zero in float16, too


class PromptScores(NamedTuple):
    """iou_predictions: (B, C); kernels: (B, C, E / 8) and image_tokens: (B, L, E), the input of upscaling."""

    iou_predictions: Tensor
    kernels: Tensor
    image_tokens: Tensor


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, depth: int) -> None:
        super().__init__()
        dims = [in_dim] + [hidden_dim] * (depth - 1) + [out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(dims))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]


class MaskDecoder(nn.Module):
    """Predicts one single-mask output and three multimask outputs; attribute names are the keys of the checkpoint."""

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.transformer_dim = dim
        self.transformer = TwoWayTransformer(config)
        self.num_multimask_outputs = config.num_multimask_outputs
        self.num_mask_tokens = config.num_multimask_outputs + 1
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(dim, dim, dim // 8, 3) for _ in range(self.num_mask_tokens))
        self.iou_prediction_head = MLP(dim, config.iou_head_dim, self.num_mask_tokens, config.iou_head_depth)

    def prepare(self, image_embeddings: Tensor, image_pe: Tensor, dense: Tensor) -> ImageTokens:
        """Compute what depends on the image and its mask prompts alone.

        Args:
            image_embeddings: (1, E, h, w).
            image_pe: (1, E, h, w).
            dense: dense prompt embeddings, (I, E, h, w) or (I, E, 1, 1).
        """
        tokens = (image_embeddings + dense).flatten(2).transpose(1, 2).contiguous()
        return self.transformer.prepare(tokens, image_pe.flatten(2).transpose(1, 2).contiguous())

    def score(self, image: ImageTokens, sparse: Tensor, absent: Tensor | None = None) -> PromptScores:
        """Run the transformer for sparse prompt embeddings, and predict each mask's IoU.

        Args:
            sparse: (B, N, E).
            absent: (B, N), 1 for a point to leave out, else 0; None to use all points.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        prompt = torch.cat([own.unsqueeze(0).repeat(sparse.shape[0], 1, 1), sparse], dim=1)
        key_bias = None if absent is None else F.pad(absent * _ABSENT_BIAS, (len(own), 0))
        tokens, image_tokens = self.transformer(prompt, image, len(own), key_bias)
        kernels = [head(tokens[:, 1 + mask]) for mask, head in enumerate(self.output_hypernetworks_mlps)]
        return PromptScores(self.iou_prediction_head(tokens[:, 0]), torch.stack(kernels, dim=1), image_tokens)

    def upscale(self, kernels: Tensor, image_tokens: Tensor, first: int, last: int) -> Tensor:
        """Return the masks ``first`` to ``last`` (exclusive) of prompts.

        Both transposed convolutions have stride = kernel, so each is a matrix product. The 4 x 4 pixels of an image
        token stay together until the masks are computed, and only the masks are permuted.

        Args:
            kernels: (B, C, E / 8). image_tokens: (B, h, w, E), the grid or a part of it, because tokens do not mix.

        Returns:
            (B, last - first, 4h, 4w) logits.
        """
        up1, norm, _, up2, _ = self.output_upscaling
        assert isinstance(up1, nn.ConvTranspose2d)
        assert isinstance(up2, nn.ConvTranspose2d)
        assert isinstance(norm, LayerNorm2d)
        batch, height, width, _ = image_tokens.shape
        x = F.gelu(norm.channels_last(_split_pixels(image_tokens.flatten(0, 2), up1)))  # (4Bhw, E / 4)
        x = F.gelu(_split_pixels(x, up2)).view(batch, 16 * height * width, -1)  # (B, 16hw, E / 8)
        masks: Tensor = kernels[:, first:last] @ x.transpose(1, 2)  # (B, C, 16hw), pixels by token, y1, x1, y2, x2
        masks = masks.reshape(-1, width, 2, 8).transpose(1, 2)  # (B C h, y1, w, x1 y2 x2)
        masks = masks.reshape(-1, 2 * width, 2, 2).transpose(1, 2)  # (B C h y1, y2, w x1, x2)
        return masks.reshape(batch, last - first, 4 * height, 4 * width)

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        absent: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict all four masks, as SAM's MaskDecoder does; ``absent`` is that of :meth:`score`.

        Returns:
            Logits (B, 4, 4h, 4w) and IoU predictions (B, 4).
        """
        dense = dense_prompt_embeddings
        if dense.stride(0) == 0:  # one embedding expanded to all prompts, which share the image tokens
            dense = dense[:1]
        image = self.prepare(image_embeddings, image_pe, dense)
        scores = self.score(image, sparse_prompt_embeddings, absent)
        image_tokens = scores.image_tokens.unflatten(1, image_embeddings.shape[2:])
        masks = self.upscale(scores.kernels, image_tokens, 0, self.num_mask_tokens)
        return masks, scores.iou_predictions

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        """Predict the multimask outputs or the single-mask output, as SAM's MaskDecoder does."""
        masks, iou_predictions = self.predict_masks(
            image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings
        )
        wanted = slice(1, None) if multimask_output else slice(0, 1)
        return masks[:, wanted], iou_predictions[:, wanted]


def _split_pixels(x: Tensor, up: nn.ConvTranspose2d) -> Tensor:
    """Apply a transposed convolution of kernel 2 and stride 2 to tokens: (L, C) -> (4L, C')."""
    assert up.bias is not None
    weight = up.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (y x C', C)
    return F.linear(x, weight, torch.cat([up.bias] * 4)).view(-1, up.out_channels)
