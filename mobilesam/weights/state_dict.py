"""The official state dicts as data: every key of MobileSAM and SAM with its shape, in the order of the official files.

Files are compared with it before use, so it needs neither torch nor a network. The keys are those of the reference
implementations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from mobilesam.arrays import Array
from mobilesam.config import DEFAULT, VARIANTS, EncoderConfig, SamConfig, VitConfig

StateDict = dict[str, Array]
Shape = tuple[int, ...]
Keys = Iterator[tuple[str, Shape]]

BATCH_NORM_EPS = 1e-5

# MobileSAM's file contains the classifier that TinyViT was trained with, which is never run.
UNUSED_PREFIXES = ("image_encoder.norm_head.", "image_encoder.head.")
# Some exports contain the index table of the attention biases, which follows from the window size.
DERIVED_SUFFIX = ".attention_bias_idxs"
COUNTER_SUFFIX = ".num_batches_tracked"


@cache
def shapes(variant: str = DEFAULT) -> Mapping[str, Shape]:
    """Return every key of the official file of a variant with its shape, in the file's order."""
    config = VARIANTS[variant]
    encoder = config.encoder
    keys = _tiny_vit(encoder, config) if isinstance(encoder, EncoderConfig) else _vit(encoder, config)
    table = {f"image_encoder.{key}": shape for key, shape in keys}
    table |= {f"prompt_encoder.{key}": shape for key, shape in _prompt_encoder(config)}
    table |= {f"mask_decoder.{key}": shape for key, shape in _mask_decoder(config)}
    return MappingProxyType(table)


@cache
def used_shapes(variant: str = DEFAULT) -> Mapping[str, Shape]:
    """Return the keys that inference uses, with their shapes: all but the unused classifier."""
    return MappingProxyType({key: shape for key, shape in shapes(variant).items() if not is_ignored(key)})


def variant_of(shapes_by_key: Mapping[str, Shape]) -> str:
    """Return the variant whose image encoder has these tensors, as far as the first of them tell."""
    width = tuple(shapes_by_key.get("image_encoder.pos_embed", ()))[-1:]
    for name, config in VARIANTS.items():
        if isinstance(config.encoder, VitConfig) and width == (config.encoder.embed_dim,):
            return name
    return DEFAULT


def is_ignored(key: str) -> bool:
    """Return whether a key is allowed in a file and not read: the unused classifier or a derived table."""
    return key.startswith(UNUSED_PREFIXES) or key.endswith(DERIVED_SUFFIX)


def dtype(key: str) -> np.dtype[np.generic]:
    """Return the dtype of a tensor of the official file: int64 for a counter, else float32."""
    return np.dtype(np.int64 if key.endswith(COUNTER_SUFFIX) else np.float32)


def complete(state: Mapping[str, Array], variant: str = DEFAULT) -> StateDict:
    """Return ``state`` in the official order and dtypes, for ``vit_t`` with a neutral classifier if it has none.

    The reference package loads strictly, so a file for it needs these unused keys.
    """
    full: StateDict = {}
    for key, shape in shapes(variant).items():
        if key in state or not is_ignored(key):
            full[key] = np.ascontiguousarray(state[key], dtype(key)).reshape(shape)
        else:
            neutral = 1.0 if key.endswith("norm_head.weight") else 0.0
            full[key] = np.full(shape, neutral, dtype=np.float32)
    return full


def _tiny_vit(config: EncoderConfig, sam: SamConfig) -> Keys:
    stem, last = config.embed_dims[0], config.embed_dims[-1]
    yield from _conv_bn("patch_embed.seq.0", stem // 2, 3, 3)
    yield from _conv_bn("patch_embed.seq.2", stem, stem // 2, 3)
    for stage, (width, depth) in enumerate(zip(config.embed_dims, config.depths, strict=True)):
        for block in range(depth):
            name, inner = f"layers.{stage}.blocks.{block}", config.expand_ratio * width
            if stage == 0:
                yield from _conv_bns(name, width, inner, width)
            else:
                biases = config.num_heads[stage], config.window_sizes[stage] ** 2
                yield f"{name}.attn.attention_biases", biases
                yield from _tiny_vit_block(name, width, inner)
        if stage < len(config.strides):
            wider = config.embed_dims[stage + 1]
            yield from _conv_bns(f"layers.{stage}.downsample", width, wider, wider)
    yield from _layer("norm_head", last)
    yield from _layer("head", 1000, last)
    yield from _neck(last, sam.embed_dim)


def _vit(config: VitConfig, sam: SamConfig) -> Keys:
    dim, side = config.embed_dim, sam.grid_size
    yield "pos_embed", (1, side, side, dim)
    yield from _layer("patch_embed.proj", dim, 3, config.patch_size, config.patch_size)
    for index in range(config.depth):
        name = f"blocks.{index}"
        tokens = side if index in config.global_blocks else config.window_size
        yield from _layer(f"{name}.norm1", dim)
        yield f"{name}.attn.rel_pos_h", (2 * tokens - 1, dim // config.num_heads)
        yield f"{name}.attn.rel_pos_w", (2 * tokens - 1, dim // config.num_heads)
        yield from _layer(f"{name}.attn.qkv", 3 * dim, dim)
        yield from _layer(f"{name}.attn.proj", dim, dim)
        yield from _layer(f"{name}.norm2", dim)
        yield from _layer(f"{name}.mlp.lin1", config.mlp_ratio * dim, dim)
        yield from _layer(f"{name}.mlp.lin2", dim, config.mlp_ratio * dim)
    yield from _neck(dim, sam.embed_dim)


def _neck(inputs: int, outputs: int) -> Keys:
    yield "neck.0.weight", (outputs, inputs, 1, 1)
    yield from _layer("neck.1", outputs)
    yield "neck.2.weight", (outputs, outputs, 3, 3)
    yield from _layer("neck.3", outputs)


def _tiny_vit_block(name: str, width: int, inner: int) -> Keys:
    yield from _layer(f"{name}.attn.norm", width)
    yield from _layer(f"{name}.attn.qkv", 3 * width, width)
    yield from _layer(f"{name}.attn.proj", width, width)
    yield from _layer(f"{name}.mlp.norm", width)
    yield from _layer(f"{name}.mlp.fc1", inner, width)
    yield from _layer(f"{name}.mlp.fc2", width, inner)
    yield from _conv_bn(f"{name}.local_conv", width, 1, 3)


def _prompt_encoder(config: SamConfig) -> Keys:
    dim, channels = config.embed_dim, config.mask_channels
    yield "pe_layer.positional_encoding_gaussian_matrix", (2, dim // 2)
    for kind in range(4):  # background, foreground, the two corners of a box
        yield f"point_embeddings.{kind}.weight", (1, dim)
    yield "not_a_point_embed.weight", (1, dim)
    yield from _layer("mask_downscaling.0", channels // 4, 1, 2, 2)
    yield from _layer("mask_downscaling.1", channels // 4)
    yield from _layer("mask_downscaling.3", channels, channels // 4, 2, 2)
    yield from _layer("mask_downscaling.4", channels)
    yield from _layer("mask_downscaling.6", dim, channels, 1, 1)
    yield "no_mask_embed.weight", (1, dim)


def _mask_decoder(config: SamConfig) -> Keys:
    dim, masks = config.embed_dim, config.num_multimask_outputs + 1
    for layer in range(config.transformer_depth):
        name = f"transformer.layers.{layer}"
        yield from _attention(f"{name}.self_attn", dim, dim)
        yield from _layer(f"{name}.norm1", dim)
        yield from _attention(f"{name}.cross_attn_token_to_image", dim, dim // 2)
        yield from _layer(f"{name}.norm2", dim)
        yield from _layer(f"{name}.mlp.lin1", config.transformer_mlp_dim, dim)
        yield from _layer(f"{name}.mlp.lin2", dim, config.transformer_mlp_dim)
        yield from _layer(f"{name}.norm3", dim)
        yield from _layer(f"{name}.norm4", dim)
        yield from _attention(f"{name}.cross_attn_image_to_token", dim, dim // 2)
    yield from _attention("transformer.final_attn_token_to_image", dim, dim // 2)
    yield from _layer("transformer.norm_final_attn", dim)
    yield "iou_token.weight", (1, dim)
    yield "mask_tokens.weight", (masks, dim)
    yield from _transposed_conv("output_upscaling.0", dim, dim // 4)
    yield from _layer("output_upscaling.1", dim // 4)
    yield from _transposed_conv("output_upscaling.3", dim // 4, dim // 8)
    for mask in range(masks):
        yield from _perceptron(f"output_hypernetworks_mlps.{mask}", dim, dim, dim, dim // 8)
    hidden = [config.iou_head_dim] * (config.iou_head_depth - 1)
    yield from _perceptron("iou_prediction_head", dim, *hidden, masks)


def _attention(name: str, dim: int, inner: int) -> Keys:
    for part in ("q_proj", "k_proj", "v_proj"):
        yield from _layer(f"{name}.{part}", inner, dim)
    yield from _layer(f"{name}.out_proj", dim, inner)


def _perceptron(name: str, *widths: int) -> Keys:
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        yield from _layer(f"{name}.layers.{index}", outputs, inputs)


def _conv_bns(name: str, inputs: int, inner: int, outputs: int) -> Keys:
    """Pointwise, depthwise, pointwise: an inverted bottleneck or a downsampling step."""
    yield from _conv_bn(f"{name}.conv1", inner, inputs, 1)
    yield from _conv_bn(f"{name}.conv2", inner, 1, 3)
    yield from _conv_bn(f"{name}.conv3", outputs, inner, 1)


def _conv_bn(name: str, outputs: int, inputs: int, kernel: int) -> Keys:
    yield f"{name}.c.weight", (outputs, inputs, kernel, kernel)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{part}", (outputs,)
    yield f"{name}.bn.num_batches_tracked", ()


def _transposed_conv(name: str, inputs: int, outputs: int) -> Keys:
    yield f"{name}.weight", (inputs, outputs, 2, 2)
    yield f"{name}.bias", (outputs,)


def _layer(name: str, *weight: int) -> Keys:
    """A layer whose bias has one value for each output, the first dimension of its weight."""
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]
