"""The decoder of annotation tools, which take one mask and differ in the padding of prompts.

The network was trained with one padding point after points alone, and none after a box. Some tools add one to a box,
too, and some add none, either of which makes masks worse. This decoder leaves out the padding points of a prompt and,
if the prompt has no box, adds one. It returns the single-mask output, which is more accurate than the candidate mask of
the highest predicted IoU, for points and for boxes (docs/accuracy.md).
"""

from __future__ import annotations

import numpy as np
import onnx

from mobilesam.arrays import Array
from mobilesam.errors import ExportError
from mobilesam.export.tracing import rename_inputs
from mobilesam.onnx import contract
from mobilesam.onnx.sessions import open_session

GRAPH = contract.decoder(return_single_mask=True)
# The labels of a box with padding, for comparisons.
BOX_LABELS = (2.0, 3.0, -1.0)

# An image without a mask gives a crop of the whole image.
_CROP = """
crop (float[1, 1, height, width] full_masks)
    => (uint8[1, 1, rows, columns] masks, int64[1] xtl, int64[1] ytl, int64[1] xbr, int64[1] ybr)
    <float threshold = {0.0}, int64[2] one_more = {1, 1}, int64[2] image_axes = {2, 3}>
{
    is_inside = Greater (full_masks, threshold)
    inside = Cast <to = 6> (is_inside)
    in_columns = ReduceMax <axes = [0, 1, 2], keepdims = 0> (inside)
    in_rows = ReduceMax <axes = [0, 1, 3], keepdims = 0> (inside)
    xtl = ArgMax <axis = 0, keepdims = 1> (in_columns)
    ytl = ArgMax <axis = 0, keepdims = 1> (in_rows)
    xbr = ArgMax <axis = 0, keepdims = 1, select_last_index = 1> (in_columns)
    ybr = ArgMax <axis = 0, keepdims = 1, select_last_index = 1> (in_rows)
    first = Concat <axis = 0> (ytl, xtl)
    last = Concat <axis = 0> (ybr, xbr)
    end = Add (last, one_more)
    mask_bytes = Cast <to = 2> (is_inside)
    masks = Slice (mask_bytes, first, end, image_axes)
}
"""
_BOUNDS = ("xtl", "ytl", "xbr", "ybr")


def crop_masks(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a decoder of one mask that crops it, as the client of CVAT requires.

    Its output ``masks`` is (1, 1, h, w) uint8 of 0 and 1: the part of the mask within ``xtl``, ``ytl``, ``xbr`` and
    ``ybr``, each (1,) int64, the first and last column and row of the mask.

    Raises:
        ExportError: the two graphs do not give the same mask.
    """
    cropped = onnx.ModelProto()
    cropped.CopyFrom(model)
    tail = onnx.parser.parse_graph(_CROP)
    for node in cropped.graph.node:
        node.output[:] = ["full_masks" if name == "masks" else name for name in node.output]
    rename_inputs(cropped.graph, {"masks": "full_masks"})
    cropped.graph.node.extend(tail.node)
    cropped.graph.initializer.extend(tail.initializer)
    kept = [value for value in cropped.graph.output if value.name != "masks"]
    del cropped.graph.output[:]
    cropped.graph.output.extend([tail.output[0], *kept, *tail.output[1:]])
    onnx.checker.check_model(cropped, full_check=True)
    _compare(model, cropped)
    return cropped


def _compare(model: onnx.ModelProto, cropped: onnx.ModelProto) -> None:
    generator = np.random.default_rng(0)
    feeds: dict[str, Array] = {
        "image_embeddings": generator.random([int(dim) for dim in GRAPH.inputs[0].shape], np.float32) - 0.5,
        "point_coords": np.array([[[300, 200], [700, 600], [0, 0]]], np.float32),
        "point_labels": np.array([BOX_LABELS], np.float32),
        "mask_input": contract.NO_MASK,
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.array([480, 640], np.float32),
    }
    (full,) = open_session(model.SerializeToString(), "cpu").run(["masks"], feeds)
    part, *bounds = open_session(cropped.SerializeToString(), "cpu").run(["masks", *_BOUNDS], feeds)
    left, top, right, bottom = (int(bound[0]) for bound in bounds)
    restored = np.zeros(full.shape, bool)
    restored[..., top : bottom + 1, left : right + 1] = part
    if (restored != (full > 0)).any():
        raise ExportError(
            "The decoder that crops masks gives other masks than the one that does not. Report it with the versions "
            "that mobilesam doctor shows."
        )
