"""The official MobileSAM state dict as data: every key with its shape, in the order of the official file.

This is what a file is compared with before any of it is used, so it needs no torch and no built network. The sizes are
those of TinyViT-5M (Wu et al., 2022, table 1) and of SAM's prompt encoder and mask decoder (Kirillov et al., 2023,
appendix A); the key names are the reference implementation's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
StateDict = dict[str, Array]
Shape = tuple[int, ...]

EMBED_DIMS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
PROMPT_DIM = 256
BATCH_NORM_EPS = 1e-5

# The classifier that TinyViT was trained with rides along in the official file; nothing ever runs it.
UNUSED_PREFIXES = ("image_encoder.norm_head.", "image_encoder.head.")
# Some exports keep the index table of the attention biases, which is derived from the window size.
DERIVED_SUFFIX = ".attention_bias_idxs"


@cache
def shapes() -> Mapping[str, Shape]:
    """Return every key of the official file with its shape, in the file's order."""
    table = {f"image_encoder.{key}": shape for key, shape in _encoder()}
    table |= {f"prompt_encoder.{key}": shape for key, shape in _prompt_encoder()}
    table |= {f"mask_decoder.{key}": shape for key, shape in _mask_decoder()}
    return MappingProxyType(table)


@cache
def used_shapes() -> Mapping[str, Shape]:
    """Return the keys that the network computes with, with their shapes: all but the unused classifier."""
    return MappingProxyType({key: shape for key, shape in shapes().items() if not is_ignored(key)})


def is_ignored(key: str) -> bool:
    """Return whether a key may be in a file and is not read: the unused classifier or a derived table."""
    return key.startswith(UNUSED_PREFIXES) or key.endswith(DERIVED_SUFFIX)


def complete(state: Mapping[str, Array]) -> StateDict:
    """Return ``state`` in the official order, with a neutral classifier where it has none.

    The reference package loads strictly, so a file written for it needs these keys although nothing uses them.
    """
    full: StateDict = {}
    for key, shape in shapes().items():
        if key in state or not is_ignored(key):
            full[key] = state[key]
        else:
            neutral = 1.0 if key.endswith("norm_head.weight") else 0.0
            full[key] = np.full(shape, neutral, dtype=np.float32)
    return full


def _encoder() -> Iterator[tuple[str, Shape]]:
    first = EMBED_DIMS[0]
    yield from _conv_bn("patch_embed.seq.0", first // 2, 3, 3)
    yield from _conv_bn("patch_embed.seq.2", first, first // 2, 3)
    for stage, (width, depth) in enumerate(zip(EMBED_DIMS, DEPTHS, strict=True)):
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            yield from _mobile_conv(name, width) if stage == 0 else _tiny_vit_block(name, stage, width)
        if stage + 1 < len(EMBED_DIMS):
            wider, name = EMBED_DIMS[stage + 1], f"layers.{stage}.downsample"
            yield from _conv_bn(f"{name}.conv1", wider, width, 1)
            yield from _conv_bn(f"{name}.conv2", wider, 1, 3)
            yield from _conv_bn(f"{name}.conv3", wider, wider, 1)
    last = EMBED_DIMS[-1]
    yield from _pair("norm_head", (last,))
    yield from _pair("head", (1000, last))
    yield "neck.0.weight", (PROMPT_DIM, last, 1, 1)
    yield from _pair("neck.1", (PROMPT_DIM,))
    yield "neck.2.weight", (PROMPT_DIM, PROMPT_DIM, 3, 3)
    yield from _pair("neck.3", (PROMPT_DIM,))


def _mobile_conv(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield from _conv_bn(f"{name}.conv1", 4 * width, width, 1)
    yield from _conv_bn(f"{name}.conv2", 4 * width, 1, 3)
    yield from _conv_bn(f"{name}.conv3", width, 4 * width, 1)


def _tiny_vit_block(name: str, stage: int, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.attn.attention_biases", (HEADS[stage], WINDOWS[stage] ** 2)
    yield from _pair(f"{name}.attn.norm", (width,))
    yield from _pair(f"{name}.attn.qkv", (3 * width, width))
    yield from _pair(f"{name}.attn.proj", (width, width))
    yield from _pair(f"{name}.mlp.norm", (width,))
    yield from _pair(f"{name}.mlp.fc1", (4 * width, width))
    yield from _pair(f"{name}.mlp.fc2", (width, 4 * width))
    yield from _conv_bn(f"{name}.local_conv", width, 1, 3)


def _prompt_encoder() -> Iterator[tuple[str, Shape]]:
    yield "pe_layer.positional_encoding_gaussian_matrix", (2, PROMPT_DIM // 2)
    for corner in range(4):
        yield f"point_embeddings.{corner}.weight", (1, PROMPT_DIM)
    yield "not_a_point_embed.weight", (1, PROMPT_DIM)
    yield from _pair("mask_downscaling.0", (4, 1, 2, 2))
    yield from _pair("mask_downscaling.1", (4,))
    yield from _pair("mask_downscaling.3", (16, 4, 2, 2))
    yield from _pair("mask_downscaling.4", (16,))
    yield from _pair("mask_downscaling.6", (PROMPT_DIM, 16, 1, 1))
    yield "no_mask_embed.weight", (1, PROMPT_DIM)


def _mask_decoder() -> Iterator[tuple[str, Shape]]:
    dim, hidden = PROMPT_DIM, PROMPT_DIM // 2
    for layer in range(2):
        name = f"transformer.layers.{layer}"
        yield from _attention(f"{name}.self_attn", dim)
        yield from _pair(f"{name}.norm1", (dim,))
        yield from _attention(f"{name}.cross_attn_token_to_image", hidden)
        yield from _pair(f"{name}.norm2", (dim,))
        yield from _pair(f"{name}.mlp.lin1", (2048, dim))
        yield from _pair(f"{name}.mlp.lin2", (dim, 2048))
        yield from _pair(f"{name}.norm3", (dim,))
        yield from _pair(f"{name}.norm4", (dim,))
        yield from _attention(f"{name}.cross_attn_image_to_token", hidden)
    yield from _attention("transformer.final_attn_token_to_image", hidden)
    yield from _pair("transformer.norm_final_attn", (dim,))
    yield "iou_token.weight", (1, dim)
    yield "mask_tokens.weight", (4, dim)
    yield "output_upscaling.0.weight", (dim, dim // 4, 2, 2)
    yield "output_upscaling.0.bias", (dim // 4,)
    yield from _pair("output_upscaling.1", (dim // 4,))
    yield "output_upscaling.3.weight", (dim // 4, dim // 8, 2, 2)
    yield "output_upscaling.3.bias", (dim // 8,)
    for mask in range(4):
        yield from _perceptron(f"output_hypernetworks_mlps.{mask}", dim // 8)
    yield from _perceptron("iou_prediction_head", 4)


def _attention(name: str, inner: int) -> Iterator[tuple[str, Shape]]:
    for part in ("q_proj", "k_proj", "v_proj"):
        yield from _pair(f"{name}.{part}", (inner, PROMPT_DIM))
    yield from _pair(f"{name}.out_proj", (PROMPT_DIM, inner))


def _perceptron(name: str, outputs: int) -> Iterator[tuple[str, Shape]]:
    for layer, width in enumerate((PROMPT_DIM, PROMPT_DIM, outputs)):
        yield from _pair(f"{name}.layers.{layer}", (width, PROMPT_DIM))


def _conv_bn(name: str, outputs: int, inputs: int, kernel: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.c.weight", (outputs, inputs, kernel, kernel)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{part}", (outputs,)
    yield f"{name}.bn.num_batches_tracked", ()


def _pair(name: str, weight: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]
