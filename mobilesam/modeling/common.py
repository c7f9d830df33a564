"""Layers that several of the networks have."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int, int]


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of (B, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.channels_last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def channels_last(self, x: Tensor) -> Tensor:
        """Normalize (..., C)."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class MLPBlock(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, embedding_dim: int, mlp_dim: int, act: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.lin1 = nn.Linear(embedding_dim, mlp_dim)
        self.lin2 = nn.Linear(mlp_dim, embedding_dim)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.act(self.lin1(x)))  # type: ignore[no-any-return]


def window_partition(x: Tensor, window_size: int) -> tuple[Tensor, Size]:
    """Cut images of tokens, (B, H, W, C), into windows, (B * windows, S, S, C), padded with zeros where needed.

    Returns:
        The windows, and the padded (height, width).
    """
    batch, height, width, dim = x.shape
    side = window_size
    rows, columns = (height + side - 1) // side, (width + side - 1) // side
    x = F.pad(x, (0, 0, 0, columns * side - width, 0, rows * side - height))
    windows = x.reshape(batch * rows, side, columns, side * dim).transpose(1, 2)
    return windows.reshape(batch * rows * columns, side, side, dim), (rows * side, columns * side)


def window_unpartition(windows: Tensor, window_size: int, pad_hw: Size, hw: Size) -> Tensor:
    """Put windows together again, to (B, H, W, C) of the size ``hw``, without the padding."""
    side, (height, width), dim = window_size, pad_hw, windows.shape[-1]
    x = windows.reshape(-1, width // side, side, side * dim).transpose(1, 2)
    return x.reshape(-1, height, width, dim)[:, : hw[0], : hw[1]]


class Neck(nn.Sequential):
    """From the last tokens to the embedding, (B, C, h, w) to (B, 256, h, w)."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__(
            nn.Conv2d(in_dim, out_dim, 1, bias=False),
            LayerNorm2d(out_dim),
            nn.Conv2d(out_dim, out_dim, 3, padding=1, bias=False),
            LayerNorm2d(out_dim),
        )
