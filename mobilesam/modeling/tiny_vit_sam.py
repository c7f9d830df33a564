"""TinyViT, the image encoder (Wu et al. 2022, arXiv:2207.10666), with SAM's neck.

Images of any height and width that are multiples of the patch size run, in batches. Between blocks the features are
(B, C, H, W) in channels-last memory, so that attention and the MLPs get the view (B, H, W, C) without a copy.

Class names are those of the reference's module of this name. Attribute names, such as ``c`` and ``bn``, are the keys of
the official checkpoint. Letters: B images, C channels, H W the stage's grid, S the side of a window, N = S * S its
tokens, M heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mobilesam.config import EncoderConfig
from mobilesam.modeling.common import LayerNorm2d as LayerNorm2d
from mobilesam.modeling.common import Neck, window_partition, window_unpartition
from mobilesam.weights.state_dict import is_ignored


class Conv2d_BN(nn.Module):
    """A convolution without bias followed by a batch norm, computed as one convolution outside training.

    The batch norm is folded at each call, because the kernels are small. So weights that are loaded, moved or trained
    later take effect.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return self.bn(self.c(x))  # type: ignore[no-any-return]
        assert self.bn.running_mean is not None
        assert self.bn.running_var is not None
        scale = self.bn.weight * torch.rsqrt(self.bn.running_var + self.bn.eps)
        bias = self.bn.bias - self.bn.running_mean * scale
        weight = self.c.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, bias, self.c.stride, self.c.padding, groups=self.c.groups)


class PatchEmbed(nn.Module):
    """Two strided convolutions: a quarter of the height and width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(Conv2d_BN(3, dim // 2, 3, stride=2), nn.GELU(), Conv2d_BN(dim // 2, dim, 3, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.seq(x)  # type: ignore[no-any-return]


class MBConv(nn.Module):
    """MBConv: expand, depthwise, project, with a residual."""

    def __init__(self, dim: int, expand_ratio: int) -> None:
        super().__init__()
        hidden = dim * expand_ratio
        self.conv1 = Conv2d_BN(dim, hidden, 1)
        self.conv2 = Conv2d_BN(hidden, hidden, 3, groups=hidden)
        self.conv3 = Conv2d_BN(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(hidden))


class PatchMerging(nn.Module):
    """Between two stages: another width, and a coarser grid if ``stride`` is 2."""

    def __init__(self, in_dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv2d_BN(in_dim, out_dim, 1)
        self.conv2 = Conv2d_BN(out_dim, out_dim, 3, stride=stride, groups=out_dim)
        self.conv3 = Conv2d_BN(out_dim, out_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention in one window, with a learned bias for each offset between two tokens.

    The table of offsets lists |dy|, |dx| row by row. The biases are gathered at each call, so changes take effect.
    """

    offsets: Tensor

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window * window))
        self.register_buffer("offsets", bias_offsets(window), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each of the windows x, (B, N, C)."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, tokens, self.num_heads, 3 * dim // self.num_heads)
        query, key, value = qkv.transpose(1, 2).chunk(3, dim=-1)  # each (B, M, N, C / M)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=self.bias())
        return self.proj(out.transpose(1, 2).reshape(batch, tokens, dim))  # type: ignore[no-any-return]

    def bias(self) -> Tensor:
        """Return the bias of each pair of tokens, (1, M, N, N)."""
        biases = self.attention_biases.index_select(1, self.offsets.flatten())
        return biases.view(1, self.num_heads, *self.offsets.shape)


def bias_offsets(window: int) -> Tensor:
    """Return (N, N) int64: for each pair of tokens of a window, the index of its offset's bias."""
    axis = torch.arange(window)
    distance = (axis[:, None] - axis[None, :]).abs()  # (S, S)
    offsets = distance[:, None, :, None] * window + distance[None, :, None, :]  # (y, x, y', x')
    return offsets.reshape(window * window, window * window)


class Mlp(nn.Module):
    """Layer norm and a two-layer perceptron."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))  # type: ignore[no-any-return]


class TinyViTBlock(nn.Module):
    """Windowed attention, a depthwise convolution across windows, a perceptron."""

    def __init__(self, dim: int, num_heads: int, window: int, mlp_ratio: int) -> None:
        super().__init__()
        self.window = window
        self.attn = Attention(dim, num_heads, window)
        self.local_conv = Conv2d_BN(dim, dim, 3, groups=dim)
        self.mlp = Mlp(dim, dim * mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # (B, H, W, C)
        x = x + self._attend(x)
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.mlp(x)
        return x.permute(0, 3, 1, 2)

    def _attend(self, x: Tensor) -> Tensor:
        # Zeros are padded before the norm, as in the reference, so padding tokens take part in attention.
        windows, padded_hw = window_partition(x, self.window)
        windows = self.attn(windows.flatten(1, 2)).view(windows.shape)
        return window_unpartition(windows, self.window, padded_hw, (x.shape[1], x.shape[2]))


class Stage(nn.Module):
    """Blocks on one grid, then downsampling to the next grid."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


ConvLayer = BasicLayer = Stage  # the reference has a class for the convolutional stage and one for the others


class TinyViT(nn.Module):
    """The image encoder.

    Args:
        config: widths, depths, heads and windows of the stages.
        image_size: side of SAM's square input; only stored, as ``img_size``.
        out_channels: width of the embedding.
    """

    def __init__(self, config: EncoderConfig, image_size: int, out_channels: int) -> None:
        super().__init__()
        self.img_size = image_size
        dims = config.embed_dims
        self.patch_embed = PatchEmbed(dims[0])
        stages = []
        for index, dim in enumerate(dims):
            blocks: list[nn.Module] = [
                TinyViTBlock(dim, config.num_heads[index], config.window_sizes[index], config.expand_ratio)
                if index
                else MBConv(dim, config.expand_ratio)
                for _ in range(config.depths[index])
            ]
            last = index + 1 == len(dims)
            stages.append(Stage(blocks, None if last else PatchMerging(dim, dims[index + 1], config.strides[index])))
        self.layers = nn.ModuleList(stages)
        self.neck = Neck(dims[-1], out_channels)
        self.register_load_state_dict_pre_hook(_drop_unused_keys)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """Embed normalized images.

        Args:
            x: (B, 3, H, W) float, normalized and padded; H and W multiples of the patch size, 16.

        Returns:
            (B, 256, H / 16, W / 16).
        """
        x = self.patch_embed(x.contiguous(memory_format=torch.channels_last))
        for stage in self.layers:
            x = stage(x)
        return self.neck(x)  # type: ignore[no-any-return]


def _drop_unused_keys(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Drop the keys of the official checkpoint that the network does not have, so that loading stays strict."""
    for key in list(state_dict):
        if key.startswith(prefix) and is_ignored(f"image_encoder.{key.removeprefix(prefix)}"):
            del state_dict[key]
