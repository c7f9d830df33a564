"""The mask decoder in SAM's plain formulation: every image token is projected for every prompt. Slow and obvious.

It reads the parameters of the decoder under test, and is the oracle for its arithmetic.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def attention(module, query, key, value):
    def heads(x):
        return x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2)

    query, key, value = heads(module.q_proj(query)), heads(module.k_proj(key)), heads(module.v_proj(value))
    weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
    return module.out_proj((weights @ value).transpose(1, 2).flatten(2))


def transformer(module, image, image_pe, prompt):
    queries, keys = prompt, image
    for index, layer in enumerate(module.layers):
        if index == 0:
            queries = attention(layer.self_attn, queries, queries, queries)
        else:
            queries = queries + attention(layer.self_attn, queries + prompt, queries + prompt, queries)
        queries = layer.norm1(queries)
        read = attention(layer.cross_attn_token_to_image, queries + prompt, keys + image_pe, keys)
        queries = layer.norm2(queries + read)
        queries = layer.norm3(queries + layer.mlp.lin2(F.relu(layer.mlp.lin1(queries))))
        keys = layer.norm4(
            keys + attention(layer.cross_attn_image_to_token, keys + image_pe, queries + prompt, queries)
        )
    read = attention(module.final_attn_token_to_image, queries + prompt, keys + image_pe, keys)
    return module.norm_final_attn(queries + read), keys


def predict_masks(decoder, image_embeddings, image_pe, sparse, dense):
    """Return logits (B, 4, 4h, 4w) and IoU predictions (B, 4)."""
    batch, (height, width) = len(sparse), image_embeddings.shape[-2:]
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(batch, -1, -1)
    image = (image_embeddings + dense).expand(batch, -1, -1, -1).flatten(2).transpose(1, 2)
    tokens, image = transformer(
        decoder.transformer, image, image_pe.flatten(2).transpose(1, 2), torch.cat([own, sparse], dim=1)
    )
    image = image.transpose(1, 2).unflatten(2, (height, width))
    up1, norm, act1, up2, act2 = decoder.output_upscaling
    mean = up1(image).mean(1, keepdim=True)
    variance = (up1(image) - mean).pow(2).mean(1, keepdim=True)
    image = (up1(image) - mean) / (variance + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    image = act2(up2(act1(image)))
    hyper = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1)
    return (hyper @ image.flatten(2)).unflatten(2, image.shape[-2:]), decoder.iou_prediction_head(tokens[:, 0])
