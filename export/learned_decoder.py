"""The SAM decoder of one mask with the learned chooser inside.

For one click it returns the mask that :mod:`mobilesam.masks.chooser` chooses, and for all other prompts the mask that
SAM's exporter chooses. It is composed of the decoder of all four masks, the graph of the chooser, a selection, and the
part of the decoder of one mask that resizes it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from mobilesam.onnx import contract

# For prompts of three points or more, padding counted, SAM's exporter chooses the single-mask output.
_SELECT = """
select (float[1, 4, 256, 256] four_masks, float[1, 4] four_ious, float[1, num_points] point_labels,
        float[1] has_mask_input, int64[1] chooser_index, float[1] chooser_confidence)
    => (float[1, 1, 256, 256] low_res_masks, float[1, 1] iou_predictions, float[1] confidence)
    <int64[1] at_0 = {0}, int64[1] at_1 = {1}, int64[1] at_2 = {2}, int64[1] at_4 = {4},
     float no_mask = {0.0}, float absent = {-2.0}, float padding = {-1.0}, float foreground = {1.0}>
{
    candidates = Slice (four_ious, at_1, at_4, at_1)
    best_candidate = ArgMax <axis = 1, keepdims = 0> (candidates)
    best = Add (best_candidate, at_1)
    is_there = Greater (point_labels, absent)
    there = Cast <to = 7> (is_there)
    num_points = ReduceSum <keepdims = 0> (there, at_1)
    are_several = Greater (num_points, at_2)
    of_exporter = Where (are_several, at_0, best)

    is_point = Greater (point_labels, padding)
    points = Cast <to = 7> (is_point)
    count = ReduceSum <keepdims = 0> (points, at_1)
    is_one = Equal (count, at_1)
    first_label = Slice (point_labels, at_0, at_1, at_1)
    first = Reshape (first_label, at_1)
    is_foreground = Equal (first, foreground)
    is_without_mask = Equal (has_mask_input, no_mask)
    is_one_foreground = And (is_one, is_foreground)
    is_click = And (is_one_foreground, is_without_mask)

    index = Where (is_click, chooser_index, of_exporter)
    low_res_masks = Gather <axis = 1> (four_masks, index)
    iou_predictions = Gather <axis = 1> (four_ious, index)
    confidence = Where (is_click, chooser_confidence, unknown)
}
"""
_FOUR = {"low_res_masks": "four_masks", "iou_predictions": "four_ious"}


def compose(
    four: onnx.ModelProto, one: onnx.ModelProto, chooser: onnx.ModelProto, graph: contract.Graph
) -> onnx.ModelProto:
    """Return the template of a decoder with the chooser inside.

    Args:
        four: the template of the decoder of all four masks.
        one: that of the decoder of one mask, of the same opset; its masks are resized as those of the result.
        chooser: the graph of the chooser.
        graph: the contract of the result.
    """
    resized = [name for name in graph.output_names if name not in (*_FOUR, "confidence")]
    head_inputs = [value.name for value in four.graph.input if value.name != "orig_im_size"]
    head = onnx.utils.Extractor(four).extract_model(head_inputs, list(_FOUR))
    tail = onnx.utils.Extractor(one).extract_model(["low_res_masks", "orig_im_size"], resized)
    chooser = onnx.version_converter.convert_version(chooser, four.opset_import[0].version)
    select = onnx.parser.parse_graph(_SELECT)
    select.initializer.append(numpy_helper.from_array(np.array(np.nan, np.float32), "unknown"))

    inputs = {name: name for name in graph.input_names}
    of_select = {value.name: value.name for value in (*select.input, *select.output)}
    parts = [
        _renamed(head.graph, "", _FOUR),
        _renamed(chooser.graph, "chooser_", inputs | _FOUR),
        _renamed(select, "select_", of_select),
        _renamed(tail.graph, "resize_", inputs | {name: name for name in graph.output_names}),
    ]
    composed = onnx.ModelProto()
    composed.CopyFrom(four)
    for field in ("node", "initializer"):
        composed.graph.ClearField(field)
        getattr(composed.graph, field).extend(each for part in parts for each in getattr(part, field))
    del composed.graph.output[:]
    kind = onnx.TensorProto.FLOAT
    outputs = [onnx.helper.make_tensor_value_info(value.name, kind, value.shape) for value in graph.outputs]
    composed.graph.output.extend(outputs)
    return composed


def _renamed(graph: onnx.GraphProto, prefix: str, names: Mapping[str, str]) -> onnx.GraphProto:
    """Rename the values of a graph, in place: those of ``names``, and all others by a prefix."""
    for node in graph.node:
        node.name = prefix + node.name if node.name else ""
        for side in (node.input, node.output):
            side[:] = [names.get(name, prefix + name) if name else "" for name in side]
    for tensor in graph.initializer:
        tensor.name = prefix + tensor.name
    return graph
