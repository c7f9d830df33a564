"""The two-way transformer of the mask decoder, rearranged so that its cost depends on the few prompt tokens.

A prompt has T tokens (about 7) and an image 4096. In the direct formulation nearly all of the work is projecting every
image token for every prompt. Equal formulas avoid it:

- Scores of a token against the image, ``q . (W_k x + b_k)``, are ``(W_k^T q) . x`` plus a term that softmax cancels.
- Values, ``A (W_v x + b_v)``, are ``(A x) W_v + b_v``, because the rows of A sum to one.
- Scores of the image against a token, ``(W_q x + b_q) . k``, are ``x . (W_q^T k) + b_q . k``.
- The output of image-to-token attention, ``W_o`` applied to mixed values, is a mix of values after ``W_o``.
- The projections of the image in layer 0 are the same for every prompt: see :class:`ImageTokens`.

Letters: B prompts, I images (1, or B where each prompt has its own mask), T tokens, L image tokens, E width, M heads, D
width of a head. Attribute names are the keys of the official checkpoint.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mobilesam.config import SamConfig
from mobilesam.modeling.common import MLPBlock


class ImageTokens(NamedTuple):
    """The part of the decoder's input that all prompts of an image share.

    tokens: (I, L, E) image embedding plus dense prompt embedding.
    positions: (1, L, E) position encoding of the tokens.
    key: (I, M, D, L), value: (I, M, L, D): projections for the token-to-image attention of layer 0.
    query: (I, M, D, L): projection for the image-to-token attention of layer 0.
    """

    tokens: Tensor
    positions: Tensor
    key: Tensor
    value: Tensor
    query: Tensor


class Attention(nn.Module):
    """Multi-head attention; its inner width can be smaller than E."""

    def __init__(self, embed_dim: int, num_heads: int, inner_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = inner_dim // num_heads
        self.scale = self.head_dim**-0.5
        self.q_proj = nn.Linear(embed_dim, inner_dim)
        self.k_proj = nn.Linear(embed_dim, inner_dim)
        self.v_proj = nn.Linear(embed_dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, embed_dim)

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, T, M * D) -> (B, M, T, D)."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)  # type: ignore[no-any-return]

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, M, T, D) -> (B, T, M * D)."""
        return x.transpose(1, 2).flatten(2)

    def head_weight(self, projection: nn.Linear) -> Tensor:
        """Return the weight of an input projection by head: (M, D, E)."""
        return projection.weight.unflatten(0, (self.num_heads, self.head_dim))  # type: ignore[no-any-return]

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor | None = None) -> Tensor:
        """Attend from (B, T, E) to (B, T', E); key_bias (B, T') is added to the scores of the keys."""
        key = self.split_heads(self.k_proj(key)).transpose(2, 3)
        scores = (self.split_heads(self.q_proj(query)) * self.scale) @ key
        if key_bias is not None:
            scores = scores + key_bias[:, None, None, :]
        out = scores.softmax(-1) @ self.split_heads(self.v_proj(value))
        return self.out_proj(self.merge_heads(out))  # type: ignore[no-any-return]


class TokenToImage(Attention):
    """Attention from prompt tokens to the image."""

    def from_projected(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend to a projected image: query (B, T, E), key (I, M, D, L), value (I, M, L, D)."""
        scores = per_image(self.split_heads(self.q_proj(query)) * self.scale, key)  # (B, M, T, L)
        read = per_image(scores.softmax(-1), value)  # (B, M, T, D)
        return self.out_proj(self.merge_heads(read))  # type: ignore[no-any-return]

    def from_tokens(self, query: Tensor, positioned: Tensor, tokens: Tensor) -> Tensor:
        """Attend to image tokens (B, L, E), with and without their positions, from queries (B, T, E)."""
        wide = (self.split_heads(self.q_proj(query)) * self.scale) @ self.head_weight(self.k_proj)  # (B, M, T, E)
        scores = wide.flatten(1, 2) @ positioned.transpose(1, 2)  # (B, M T, L)
        read = (scores.softmax(-1) @ tokens).unflatten(1, (self.num_heads, -1))  # (B, M, T, E)
        value = read @ self.head_weight(self.v_proj).transpose(1, 2)  # (B, M, T, D)
        return self.out_proj(self.merge_heads(value) + self.v_proj.bias)  # type: ignore[no-any-return]


class ImageToToken(Attention):
    """Attention from the image to prompt tokens; scores are (B, M T, L), so that softmax runs along memory."""

    def from_projected(
        self, tokens: Tensor, query: Tensor, key: Tensor, value: Tensor, key_bias: Tensor | None
    ) -> Tensor:
        """Return tokens (I, L, E) plus their attention output; query (I, M, D, L); key, value (B, T, E)."""
        scores = per_image(self.split_heads(self.k_proj(key)) * self.scale, query)  # (B, M, T, L)
        if key_bias is not None:
            scores = scores + key_bias[:, None, :, None]
        return self._add_values(tokens, scores, value)

    def from_tokens(
        self, tokens: Tensor, positioned: Tensor, key: Tensor, value: Tensor, key_bias: Tensor | None
    ) -> Tensor:
        """Return tokens (B, L, E) plus their attention output; key, value (B, T, E)."""
        heads = self.split_heads(self.k_proj(key)) * self.scale  # (B, M, T, D)
        wide = heads @ self.head_weight(self.q_proj)  # (B, M, T, E)
        constant = heads @ self.q_proj.bias.view(self.num_heads, self.head_dim, 1)  # (B, M, T, 1)
        if key_bias is not None:
            constant = constant + key_bias[:, None, :, None]
        scores = (wide.flatten(1, 2) @ positioned.transpose(1, 2)).unflatten(1, (self.num_heads, -1))
        return self._add_values(tokens, scores + constant, value)

    def _add_values(self, tokens: Tensor, scores: Tensor, value: Tensor) -> Tensor:
        out_weight = self.out_proj.weight.unflatten(1, (self.num_heads, self.head_dim)).permute(1, 2, 0)  # (M, D, E)
        # The weights of a head sum to one over the prompt tokens, so the bias of the output can be added to the values.
        bias = self.out_proj.bias / self.num_heads
        wide = (self.split_heads(self.v_proj(value)) @ out_weight + bias).flatten(1, 2)  # (B, M T, E)
        mix = scores.softmax(2).flatten(1, 2).transpose(1, 2)  # (B, L, M T)
        return torch.baddbmm(tokens.expand(mix.shape[0], -1, -1), mix, wide)


def per_image(x: Tensor, y: Tensor) -> Tensor:
    """Multiply x, (B, M, T, P), by y of the image, (I, M, P, Q), without a copy of y for every prompt."""
    if y.shape[0] == x.shape[0]:
        return x @ y
    out = x.transpose(0, 1).flatten(1, 2) @ y[0]  # (M, B T, Q)
    return out.unflatten(1, (x.shape[0], -1)).transpose(0, 1)  # type: ignore[no-any-return]


class TwoWayAttentionBlock(nn.Module):
    """(1) self-attention of tokens, (2) token-to-image attention, (3) perceptron, (4) image-to-token attention."""

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        dim, heads = config.embed_dim, config.transformer_heads
        self.self_attn = Attention(dim, heads, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = TokenToImage(dim, heads, dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLPBlock(dim, config.transformer_mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = ImageToToken(dim, heads, dim // 2)

    def first(self, prompt: Tensor, image: ImageTokens, key_bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run layer 0, in which prompt tokens (B, T, E) are their own positions and the image is projected already."""
        queries = self.norm1(self.self_attn(prompt, prompt, prompt, key_bias))
        attention = self.cross_attn_token_to_image
        queries = self.norm2(queries + attention.from_projected(queries + prompt, image.key, image.value))
        queries = self.norm3(queries + self.mlp(queries))
        back = self.cross_attn_image_to_token
        attended = back.from_projected(image.tokens, image.query, queries + prompt, queries, key_bias)
        return queries, self.norm4(attended)

    def forward(
        self, queries: Tensor, prompt: Tensor, tokens: Tensor, positions: Tensor, key_bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run a later layer, whose image tokens (B, L, E) depend on the prompt."""
        positioned = tokens + positions
        queries = self.norm1(queries + self.self_attn(queries + prompt, queries + prompt, queries, key_bias))
        attention = self.cross_attn_token_to_image
        queries = self.norm2(queries + attention.from_tokens(queries + prompt, positioned, tokens))
        queries = self.norm3(queries + self.mlp(queries))
        back = self.cross_attn_image_to_token
        attended = back.from_tokens(tokens, positioned, queries + prompt, queries, key_bias)
        return queries, self.norm4(attended)


class TwoWayTransformer(nn.Module):
    """Two-way blocks, then a last token-to-image attention."""

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        dim, heads = config.embed_dim, config.transformer_heads
        self.layers = nn.ModuleList(TwoWayAttentionBlock(config) for _ in range(config.transformer_depth))
        self.final_attn_token_to_image = TokenToImage(dim, heads, dim // 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def prepare(self, tokens: Tensor, positions: Tensor) -> ImageTokens:
        """Project tokens (I, L, E) with positions (1, L, E) for layer 0."""
        to_image: TokenToImage = self.layers[0].cross_attn_token_to_image  # type: ignore[assignment]
        to_token: ImageToToken = self.layers[0].cross_attn_image_to_token  # type: ignore[assignment]
        positioned = tokens + positions
        return ImageTokens(
            tokens,
            positions,
            key=to_image.split_heads(to_image.k_proj(positioned)).transpose(2, 3).contiguous(),
            value=to_image.split_heads(to_image.v_proj(tokens)).contiguous(),
            query=to_token.split_heads(to_token.q_proj(positioned)).transpose(2, 3).contiguous(),
        )

    def forward(
        self, prompt: Tensor, image: ImageTokens, wanted: int, key_bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run prompt tokens (B, T, E) on an image; return the first ``wanted`` of them and image tokens (B, L, E).

        key_bias (B, T), if given, is added to all scores of attention to the prompt tokens.
        """
        queries, tokens = self.layers[0].first(prompt, image, key_bias)  # type: ignore[operator]
        for layer in list(self.layers)[1:]:
            queries, tokens = layer(queries, prompt, tokens, image.positions, key_bias)
        final = self.final_attn_token_to_image
        queries = queries[:, :wanted]  # the image tokens contain the information of the others
        attended = final.from_tokens(queries + prompt[:, :wanted], tokens + image.positions, tokens)
        return self.norm_final_attn(queries + attended), tokens
