"""The ONNX graphs as data: names, shapes and types for the exporter, the runtime and the tests.

A model is an encoder with the SAM decoder, one graph for one prompt, or with the split decoder, three graphs for many
prompts of one image:

    encoder   an image -> image_embeddings
    decoder   image_embeddings, one prompt -> masks, iou_predictions, low_res_masks
    image     image_embeddings, mask_input -> image tokens, shared by all prompts of the image
    score     image tokens, prompts -> iou_predictions, kernels, image tokens of each prompt
    upscale   kernels, image tokens of each prompt -> low_res_logits

A dimension is a number, or a name if it varies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mobilesam.arrays import FloatArray
from mobilesam.config import VARIANTS

VERSION = 1
OPSETS = range(17, 24)
DEFAULT_OPSET = 18

_CONFIG = VARIANTS["vit_t"]
IMAGE_SIZE, GRID_SIZE, LOGITS_SIZE = _CONFIG.image_size, _CONFIG.grid_size, _CONFIG.logits_size
_SIDE, _GRID, _LOGITS, _DIM = IMAGE_SIZE, GRID_SIZE, LOGITS_SIZE, _CONFIG.embed_dim
_TOKENS, _HEADS = _GRID * _GRID, _CONFIG.transformer_heads
_HEAD_DIM = _DIM // 2 // _HEADS
_MASKS = _CONFIG.num_multimask_outputs + 1

Dim = int | str


class Value(NamedTuple):
    """An input or output of a graph; ``dtype`` is NumPy's name."""

    name: str
    shape: tuple[Dim, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Graph:
    """One ONNX file; ``role`` is in its metadata and gives its file name."""

    role: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def file_name(self) -> str:
        return f"{self.role}.onnx"

    @property
    def input_names(self) -> list[str]:
        return [value.name for value in self.inputs]

    @property
    def output_names(self) -> list[str]:
        return [value.name for value in self.outputs]


_EMBEDDINGS = Value("image_embeddings", (1, _DIM, _GRID, _GRID))
_IMAGE_TOKENS = (
    Value("tokens", ("images", _TOKENS, _DIM)),
    Value("positions", (1, _TOKENS, _DIM)),
    Value("key", ("images", _HEADS, _HEAD_DIM, _TOKENS)),
    Value("value", ("images", _HEADS, _TOKENS, _HEAD_DIM)),
    Value("query", ("images", _HEADS, _HEAD_DIM, _TOKENS)),
)
_KERNELS = Value("kernels", ("prompts", _MASKS, _DIM // 8))

INPUT_NAME = "input_image"  # of the encoder; that of samexporter's files
# Normalized and zero-padded pixels of :func:`mobilesam.image.model_input.encoder_input`.
ENCODER = Graph(
    "encoder",
    (Value(INPUT_NAME, ("batch", 3, _SIDE, _SIDE)),),
    (Value("image_embeddings", ("batch", _DIM, _GRID, _GRID)),),
)
# Any height and width that are multiples of the patch size, 16.
ENCODER_DYNAMIC = Graph(
    "encoder",
    (Value(INPUT_NAME, ("batch", 3, "height", "width")),),
    (Value("image_embeddings", ("batch", _DIM, "rows", "columns")),),
)
# RGB in 0..255 with the longer side at 1024; the graph normalizes and pads.
ENCODER_HWC = Graph("encoder", (Value(INPUT_NAME, ("height", "width", 3)),), (_EMBEDDINGS,))
ENCODER_HWC_UINT8 = Graph("encoder", (Value(INPUT_NAME, ("height", "width", 3), "uint8"),), (_EMBEDDINGS,))


def with_input_name(encoder: Graph, name: str) -> Graph:
    """Return an encoder whose input has another name."""
    (pixels,) = encoder.inputs
    return replace(encoder, inputs=(pixels._replace(name=name),))


def preprocessing(encoder: Graph) -> Graph:
    """Return the first part of an encoder of RGB pixels; its output is the input of :data:`ENCODER`."""
    return Graph("preprocessing", encoder.inputs, (Value("pixels", (1, 3, _SIDE, _SIDE)),))


# has_mask_input is 0 or 1; without masks, "images" is 1 and mask_input is ignored.
IMAGE = Graph(
    "image",
    (_EMBEDDINGS, Value("mask_input", ("images", 1, _LOGITS, _LOGITS)), Value("has_mask_input", (1,))),
    _IMAGE_TOKENS,
)
# The mask_input of prompts without a mask.
NO_MASK: FloatArray = np.zeros((1, 1, _LOGITS, _LOGITS), np.float32)
# Points in the model frame, labels as in :mod:`mobilesam.prompts.arrays`; "images" is 1, or as many as the prompts.
SCORE = Graph(
    "score",
    (*_IMAGE_TOKENS, Value("point_coords", ("prompts", "points", 2)), Value("point_labels", ("prompts", "points"))),
    (Value("iou_predictions", ("prompts", _MASKS)), _KERNELS, Value("image_tokens", ("prompts", _TOKENS, _DIM))),
)
# Any rows and columns of the token grid; each token gives 4 x 4 logits.
UPSCALE = Graph(
    "upscale",
    (_KERNELS, Value("image_tokens", ("prompts", "rows", "columns", _DIM))),
    (Value("low_res_logits", ("prompts", _MASKS, "height", "width")),),
)

# The names of SAM's export; the points include one padding point, or the corners of a box.
_DECODER_INPUTS = (
    _EMBEDDINGS,
    Value("point_coords", (1, "num_points", 2)),
    Value("point_labels", (1, "num_points")),
    Value("mask_input", (1, 1, _LOGITS, _LOGITS)),
    Value("has_mask_input", (1,)),
    Value("orig_im_size", (2,)),
)

# The mask to keep for one click, from what the SAM decoder returns for it, all four masks. Points in the model frame.
CHOOSER = Graph(
    "chooser",
    (
        Value("low_res_masks", (1, _MASKS, _LOGITS, _LOGITS)),
        Value("iou_predictions", (1, _MASKS)),
        Value("point_coords", (1, "num_points", 2)),
        Value("orig_im_size", (2,)),
    ),
    (Value("index", (1,), "int64"), Value("confidence", (1,)), Value("confidences", (1, _MASKS))),
)
# Logarithms of the masks of four kinds to expect of a point in each cell of the embedding, for everything mode.
EXPECTATION = Graph("expectation", (_EMBEDDINGS,), (Value("log_rates", (1, 4, _GRID, _GRID)),))
LEARNED = (CHOOSER, EXPECTATION)
SPLIT_DECODER = (IMAGE, SCORE, UPSCALE)
# The graphs that a checkpoint runs on.
GRAPHS = (ENCODER_DYNAMIC, *SPLIT_DECODER)


def decoder(
    *,
    return_single_mask: bool = False,
    extra_metrics: bool = False,
    low_res_only: bool = False,
    confidence: bool = False,
) -> Graph:
    """Return the contract of the SAM decoder with the options of SAM's exporter.

    Args:
        return_single_mask: one mask per prompt, chosen in the graph.
        extra_metrics: also stability_scores and areas of the full-size masks.
        low_res_only: no resizing in the graph, and no orig_im_size.
        confidence: also the confidence of the learned chooser, with resizing alone.
    """
    count = 1 if return_single_mask else _MASKS
    predictions = Value("iou_predictions", (1, count))
    low_res = Value("low_res_masks", (1, count, _LOGITS, _LOGITS))
    if low_res_only:
        return Graph("decoder", _DECODER_INPUTS[:-1], (predictions, low_res))
    masks = Value("masks", (1, count, "height", "width"))
    extra = (Value("stability_scores", (1, count)), Value("areas", (1, count))) if extra_metrics else ()
    chosen = (Value("confidence", (1,)),) if confidence else ()
    return Graph("decoder", _DECODER_INPUTS, (masks, predictions, *extra, low_res, *chosen))
