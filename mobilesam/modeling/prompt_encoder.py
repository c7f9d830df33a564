"""Embeddings of points, boxes and masks (Kirillov et al. 2023, section A).

Letters: B prompts, N points, E embedding width, h w the grid of image tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mobilesam.config import SamConfig
from mobilesam.modeling.common import LayerNorm2d


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of positions in the unit square (Tancik et al. 2020)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))

    def _pe_encoding(self, coords: Tensor) -> Tensor:
        """Encode coords, (..., 2) in 0..1, to (..., E); computed in float32 for weights of any dtype."""
        matrix = self.positional_encoding_gaussian_matrix
        angles = 2 * math.pi * ((2 * coords.to(torch.float32) - 1) @ matrix.to(torch.float32))
        return torch.cat([angles.sin(), angles.cos()], dim=-1).to(matrix.dtype)

    def forward(self, size: tuple[int, int]) -> Tensor:
        """Encode the centers of a grid of (h, w) cells: (E, h, w)."""
        device = self.positional_encoding_gaussian_matrix.device
        ys, xs = (((torch.arange(side, device=device) + 0.5) / side) for side in size)
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)  # (h, w, 2)
        return self._pe_encoding(grid).permute(2, 0, 1)

    def forward_with_coords(self, coords_input: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Encode coords, (B, N, 2) x y in pixels of an image of (height, width), to (B, N, E)."""
        height, width = image_size
        return self._pe_encoding(coords_input.to(torch.float32) / coords_input.new_tensor([width, height]).float())


class PromptEncoder(nn.Module):
    """Sparse embeddings of points and boxes, dense embeddings of masks; attribute names are the checkpoint's keys."""

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        channels = config.mask_channels
        self.embed_dim = config.embed_dim
        self.input_image_size = (config.image_size, config.image_size)
        self.image_embedding_size = (config.grid_size, config.grid_size)
        self.mask_input_size = (config.logits_size, config.logits_size)
        self.num_point_embeddings = 4  # background, foreground, upper left corner, lower right corner
        self.pe_layer = PositionEmbeddingRandom(config.embed_dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, self.embed_dim) for _ in range(self.num_point_embeddings))
        self.not_a_point_embed = nn.Embedding(1, self.embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(channels // 4),
            nn.GELU(),
            nn.Conv2d(channels // 4, channels, kernel_size=2, stride=2),
            LayerNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, self.embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, self.embed_dim)

    def embed_points(self, point_coords: Tensor, point_labels: Tensor) -> Tensor:
        """Embed labeled points.

        Args:
            point_coords: (B, N, 2) float, x y in pixels of the model frame.
            point_labels: (B, N): 1 foreground, 0 background, 2 and 3 the corners of a box, -1 padding. Points of other
                labels get the embedding of their position alone, as in SAM.

        Returns:
            (B, N, E).
        """
        positions = self.pe_layer.forward_with_coords(point_coords.to(torch.float32) + 0.5, self.input_image_size)
        kinds = torch.cat(
            [self.not_a_point_embed.weight, *(point.get_parameter("weight") for point in self.point_embeddings)]
        )
        # Comparisons and indexing by arithmetic, which all runtimes have: 1 for the point's kind, else 0.
        labels = torch.arange(-1, self.num_point_embeddings, device=point_labels.device, dtype=point_labels.dtype)
        is_kind = (1 - (point_labels.unsqueeze(-1) - labels).abs().clamp(max=1)).to(kinds.dtype)  # (B, N, 5)
        return positions * (1 - is_kind[..., :1]) + is_kind @ kinds

    def embed_masks(self, masks: Tensor) -> Tensor:
        """Embed mask logits, (B, 1, 4h, 4w), to (B, E, h, w)."""
        return self.mask_downscaling(masks)  # type: ignore[no-any-return]

    def embed_no_mask(self) -> Tensor:
        """Return the dense embedding of prompts without a mask, (1, E, 1, 1)."""
        return self.no_mask_embed.weight.view(1, -1, 1, 1)

    def get_dense_pe(self) -> Tensor:
        """Return the position encoding of the grid of image tokens, (1, E, h, w)."""
        return self.pe_layer(self.image_embedding_size).unsqueeze(0)  # type: ignore[no-any-return]

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Embed prompts as SAM's PromptEncoder does.

        Args:
            points: (B, N, 2) coordinates in the model frame and (B, N) labels, or None.
            boxes: (B, 4) x1 y1 x2 y2 in the model frame, or None.
            masks: (B, 1, 4h, 4w) logits, or None.

        Returns:
            Sparse embeddings (B, T, E), dense embeddings (B, E, h, w).
        """
        given = [x for x in (points and points[0], boxes, masks) if x is not None]
        batch = len(given[0]) if given else 1
        weight = self.no_mask_embed.weight
        coords = weight.new_zeros((batch, 0, 2), dtype=torch.float32)
        labels = weight.new_zeros((batch, 0))
        if points is not None:
            # Without a box, the network was trained with one padding point at the end.
            extra = 1 if boxes is None else 0
            coords = torch.cat([points[0].to(torch.float32), coords.new_zeros((batch, extra, 2))], dim=1)
            labels = torch.cat([points[1].to(weight.dtype), -labels.new_ones((batch, extra))], dim=1)
        if boxes is not None:
            coords = torch.cat([coords, boxes.reshape(batch, 2, 2).to(torch.float32)], dim=1)
            labels = torch.cat([labels, labels.new_tensor([2, 3]).expand(batch, 2)], dim=1)
        sparse = self.embed_points(coords, labels)
        dense = self.embed_no_mask() if masks is None else self.embed_masks(masks)
        return sparse, dense.expand(batch, -1, *self.image_embedding_size)
