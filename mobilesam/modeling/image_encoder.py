"""The plain vision transformer, SAM's image encoder (Li et al. 2022, arXiv:2203.16527).

Between blocks the features are (B, H, W, C). Attribute names are the keys of SAM's checkpoints. Letters: B images or
windows, C channels, H W the grid or window, N = H * W its tokens, M heads, D width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobilesam.config import VitConfig
from mobilesam.modeling.common import MLPBlock, Neck, Size, window_partition, window_unpartition

_EPS = 1e-6  # of the layer norms


class PatchEmbed(nn.Module):
    """One convolution from pixels, (B, 3, height, width), to tokens, (B, H, W, C)."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention with a learned bias for each vertical and each horizontal offset (Li et al. 2021, MViTv2).

    Args:
        input_size: (H, W), the tokens that attend to each other.
    """

    def __init__(self, dim: int, num_heads: int, input_size: Size) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * input_size[0] - 1, self.head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * input_size[1] - 1, self.head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each of x, (B, H, W, C).

        The bias of a query and a key is the sum of one number for the key's row and one for its column. So it is the
        product of these numbers with the key's row and column as one-hot vectors, which are appended to queries and
        keys. An N x N table of biases, which has 1 GB in the largest network, is not made.
        """
        batch, height, width, dim = x.shape
        tokens, size = height * width, (height, width)
        parts = self.qkv(x).view(batch, tokens, 3 * dim).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)  # (B, M, N, D)
        flat = query.reshape(-1, tokens, self.head_dim)
        by_row, by_column = rel_pos_scores(flat, self.rel_pos_h, self.rel_pos_w, size, size)
        rows = torch.eye(height, dtype=x.dtype, device=x.device).repeat(1, width).view(-1, height)  # (N, H)
        columns = torch.eye(width, dtype=x.dtype, device=x.device).repeat(height, 1)  # (N, W)
        bias = torch.cat([by_row, by_column], dim=-1).view(batch, self.num_heads, tokens, height + width)
        query = torch.cat([query * self.head_dim**-0.5, bias], dim=-1)
        # The sum with zeros repeats the places for each window and head, without an operator that runtimes lack.
        key = torch.cat([key, torch.cat([rows, columns], dim=1) + 0 * key[..., :1]], dim=-1)
        if not torch.compiler.is_exporting():  # PyTorch's fused kernel needs values of the width of the keys
            value = F.pad(value, (0, height + width))
        out = F.scaled_dot_product_attention(query, key, value, scale=1.0)[..., : self.head_dim]
        return self.proj(out.transpose(1, 2).reshape(batch, height, width, dim))  # type: ignore[no-any-return]


def get_rel_pos(q_size: int, k_size: int, rel_pos: Tensor) -> Tensor:
    """Return the embedding of the offset of each of ``q_size`` queries and ``k_size`` keys on a line.

    Args:
        rel_pos: (2 * max(q_size, k_size) - 1, D); of another length it is interpolated.

    Returns:
        (q_size, k_size, D).
    """
    longer = max(q_size, k_size)
    if len(rel_pos) != 2 * longer - 1:
        rel_pos = F.interpolate(rel_pos.T.unsqueeze(0), 2 * longer - 1, mode="linear")[0].T
    queries = torch.arange(q_size, device=rel_pos.device)[:, None] * max(k_size / q_size, 1.0)
    keys = torch.arange(k_size, device=rel_pos.device)[None, :] * max(q_size / k_size, 1.0)
    offsets = queries - keys + (k_size - 1) * max(q_size / k_size, 1.0)
    return rel_pos.index_select(0, offsets.long().flatten()).view(q_size, k_size, -1)


def rel_pos_scores(
    q: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor, q_size: Size, k_size: Size
) -> tuple[Tensor, Tensor]:
    """Return the bias of queries, (..., N, D) of a grid ``q_size``, for keys by row and by column.

    Returns:
        (..., H, W, rows of ``k_size``) and (..., H, W, columns of ``k_size``).
    """
    grid = q.unflatten(-2, q_size)  # (..., H, W, D)
    by_row = torch.einsum("...hwc,hkc->...hwk", grid, get_rel_pos(q_size[0], k_size[0], rel_pos_h))
    by_column = torch.einsum("...hwc,wkc->...hwk", grid, get_rel_pos(q_size[1], k_size[1], rel_pos_w))
    return by_row, by_column


def add_decomposed_rel_pos(
    attn: Tensor, q: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor, q_size: Size, k_size: Size
) -> Tensor:
    """Add the biases of offsets to attention scores, (B, N, keys), as SAM's function of this name.

    Args:
        q: (B, N, D), queries of a grid ``q_size``; the keys are those of a grid ``k_size``.
    """
    by_row, by_column = rel_pos_scores(q, rel_pos_h, rel_pos_w, q_size, k_size)
    return attn + (by_row[..., :, None] + by_column[..., None, :]).reshape(attn.shape)


class Block(nn.Module):
    """Attention and a perceptron, each after a layer norm and with a residual.

    Args:
        window_size: the side of the windows, or 0 for attention to all of ``input_size``, (H, W).
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: int, window_size: int, input_size: Size) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.attn = Attention(dim, num_heads, (window_size, window_size) if window_size else input_size)
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.mlp = MLPBlock(dim, dim * mlp_ratio)
        self.window_size = window_size

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]

    def _attend(self, x: Tensor) -> Tensor:
        if not self.window_size:
            return self.attn(x)  # type: ignore[no-any-return]
        windows, padded_hw = window_partition(x, self.window_size)
        return window_unpartition(self.attn(windows), self.window_size, padded_hw, (x.shape[1], x.shape[2]))


class ImageEncoderViT(nn.Module):
    """The image encoder of ``vit_b``, ``vit_l`` and ``vit_h``.

    Args:
        config: width, depth and heads.
        image_size: side of SAM's square input, ``img_size``.
        out_channels: width of the embedding.
    """

    def __init__(self, config: VitConfig, image_size: int, out_channels: int) -> None:
        super().__init__()
        self.img_size = image_size
        side, dim = image_size // config.patch_size, config.embed_dim
        self.patch_embed = PatchEmbed(config.patch_size, dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, dim))
        self.blocks = nn.ModuleList(
            Block(
                dim,
                config.num_heads,
                config.mlp_ratio,
                0 if index in config.global_blocks else config.window_size,
                (side, side),
            )
            for index in range(config.depth)
        )
        self.neck = Neck(dim, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Embed normalized and padded images, (B, 3, 1024, 1024) float, to (B, 256, 64, 64)."""
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))  # type: ignore[no-any-return]
