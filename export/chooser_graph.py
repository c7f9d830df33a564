"""The learned chooser as an ONNX graph, so that browsers and phones need no second implementation.

It computes what :func:`mobilesam.masks.chooser.confidences` does, from the outputs of the SAM decoder with all four
masks. Its operators are those of opset 17, of rank 4 at most, and without GatherND, Expand and ConvTranspose.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from mobilesam.arrays import Array
from mobilesam.errors import ExportError
from mobilesam.geometry import resized_hw
from mobilesam.masks import chooser
from mobilesam.onnx import contract
from mobilesam.onnx.metadata import describe
from mobilesam.onnx.sessions import open_session

OPSET = 17
_IR_VERSION = 8
_TOLERANCE = 1e-4
_LOGITS = contract.CHOOSER.inputs[0].shape[-1]

# M masks, P sampled rows and columns, A = P * P, T thresholds or disks.
_GRAPH = """
chooser (float[1, 4, 256, 256] low_res_masks, float[1, 4] iou_predictions, float[1, num_points, 2] point_coords,
         float[2] orig_im_size) => (int64[1] index, float[1] confidence, float[1, 4] confidences)
{
    longest = ReduceMax <keepdims = 1> (orig_im_size)
    scale = Div (image_size, longest)
    scaled = Mul (orig_im_size, scale)
    nearest = Add (scaled, half)
    input_hw_at_least_0 = Floor (nearest)
    input_hw = Max (input_hw_at_least_0, one)
    in_logits = Div (input_hw, logit)
    covered = Ceil (in_logits)
    in_samples = Div (covered, step)
    sampled_hw = Ceil (in_samples)
    height = Slice (sampled_hw, at_0, at_1, at_0)
    width = Slice (sampled_hw, at_1, at_2, at_0)
    rows_valid = Less (rows, height)
    columns_valid = Less (columns, width)
    valid = And (rows_valid, columns_valid)
    valid_weights = Cast <to = 1> (valid)
    valid_flat = Reshape (valid_weights, shape_1_1_a)

    sampled = Slice (low_res_masks, slice_starts, slice_ends, slice_axes, slice_steps)
    logits = Reshape (sampled, shape_m_1_a)
    above_flat = Greater (logits, zero)
    above = Cast <to = 1> (above_flat)
    masks_flat = Mul (above, valid_flat)
    masks = Reshape (masks_flat, shape_m_p_p)
    flat = Reshape (masks_flat, shape_m_a)
    flat_t = Transpose <perm = [1, 0]> (flat)
    shared = MatMul (flat, flat_t)
    area_or_0 = ReduceSum <keepdims = 1> (flat, axis_1)
    area = Max (area_or_0, one)
    area_t = Transpose <perm = [1, 0]> (area)
    side = Sqrt (area)

    is_nan = IsNaN (iou_predictions)
    predicted = Where (is_nan, zero, iou_predictions)
    predicted_t = Transpose <perm = [1, 0]> (predicted)
    best_predicted = ReduceMax <keepdims = 1> (predicted_t)
    below_predicted = Sub (best_predicted, predicted_t)
    f_predicted = Concat <axis = 1> (predicted_t, below_predicted)
    areas = Add (area, area_t)
    union_or_0 = Sub (areas, shared)
    union = Max (union_or_0, one)
    iou = Div (shared, union)
    iou_flat = Reshape (iou, shape_flat)
    f_iou = Gather <axis = 0> (iou_flat, pairs)
    weighted = Mul (iou, predicted)
    agreement = ReduceSum <keepdims = 1> (weighted, axis_1)
    best_agreement = ReduceMax <keepdims = 1> (agreement)
    below_agreement = Sub (best_agreement, agreement)
    f_agreement = Concat <axis = 1> (agreement, below_agreement)
    contained = Div (shared, area)
    contained_flat = Reshape (contained, shape_flat)
    f_contained = Gather <axis = 0> (contained_flat, ordered_pairs)
    log_area = Log (area_t)
    log_flat = Reshape (log_area, shape_flat)
    log_first = Gather <axis = 0> (log_flat, first)
    log_second = Gather <axis = 0> (log_flat, second)
    log_ratio = Sub (log_first, log_second)
    f_area_ratio = Clip (log_ratio, least_log_ratio, most_log_ratio)

    beyond = Greater (logits, thresholds)
    beyond_weights = Cast <to = 1> (beyond)
    beyond_valid = Mul (beyond_weights, valid_flat)
    counts = ReduceSum <keepdims = 0> (beyond_valid, axis_2)
    narrow = Slice (counts, at_0, at_3, at_1)
    wide_or_0 = Slice (counts, at_3, at_6, at_1)
    wide = Max (wide_or_0, one)
    f_stability = Div (narrow, wide)
    narrow_share = Div (narrow, area)
    wide_share = Div (area, wide)
    f_shrink = Concat <axis = 1> (narrow_share, wide_share)

    first_point = Slice (point_coords, at_0, at_1, at_1)
    point = Reshape (first_point, shape_flat)
    limited = Clip (point, least_click, most_click)
    centered = Add (limited, half)
    click_logits = Div (centered, logit)
    click_corner = Sub (click_logits, half)
    click = Div (click_corner, step)
    click_x = Slice (click, at_0, at_1, at_0)
    click_y = Slice (click, at_1, at_2, at_0)
    dx = Sub (columns, click_x)
    dy = Sub (rows, click_y)
    dx_t = Transpose <perm = [1, 0]> (dx)
    dx2 = Mul (dx, dx)
    dy2 = Mul (dy, dy)
    dx2_t = Transpose <perm = [1, 0]> (dx2)
    by_row = ReduceSum <keepdims = 0> (masks, axis_2)
    by_column = ReduceSum <keepdims = 0> (masks, axis_1)
    sum_x = MatMul (by_column, dx_t)
    sum_y = MatMul (by_row, dy)
    x = Div (sum_x, area)
    y = Div (sum_y, area)
    x2 = Mul (x, x)
    y2 = Mul (y, y)
    xy_mean = Mul (x, y)
    sum_xx = MatMul (by_column, dx2_t)
    mean_xx = Div (sum_xx, area)
    about_xx = Sub (mean_xx, x2)
    xx = Add (about_xx, twelfth)
    sum_yy = MatMul (by_row, dy2)
    mean_yy = Div (sum_yy, area)
    about_yy = Sub (mean_yy, y2)
    yy = Add (about_yy, twelfth)
    rows_x = MatMul (masks, dx_t)
    rows_x_flat = Reshape (rows_x, shape_m_p)
    sum_xy = MatMul (rows_x_flat, dy)
    mean_xy = Div (sum_xy, area)
    xy = Sub (mean_xy, xy_mean)
    xx_yy = Mul (xx, yy)
    xy2 = Mul (xy, xy)
    spread_det = Sub (xx_yy, xy2)
    determinant = Max (spread_det, least_determinant)
    x2_yy = Mul (x2, yy)
    xy_xy = Mul (xy_mean, xy)
    xy_xy2 = Add (xy_xy, xy_xy)
    y2_xx = Mul (y2, xx)
    quadratic_1 = Sub (x2_yy, xy_xy2)
    quadratic = Add (quadratic_1, y2_xx)
    mahalanobis = Div (quadratic, determinant)
    spread2 = Max (mahalanobis, zero)
    spread = Sqrt (spread2)
    distance2 = Add (x2, y2)
    distance = Sqrt (distance2)
    distance_share = Div (distance, side)
    offsets = Concat <axis = 1> (distance_share, spread)
    f_offset = Min (offsets, largest_offset)

    squared = Add (dx2, dy2)
    squared_flat = Reshape (squared, shape_1_1_a)
    outside_mask = Not (above_flat)
    valid_all = Greater (valid_flat, half)
    outside = And (outside_mask, valid_all)
    to_outside = Where (outside, squared_flat, far)
    reach2 = ReduceMin <axes = [1, 2], keepdims = 0> (to_outside)
    reach_flat = Sqrt (reach2)
    reach = Reshape (reach_flat, shape_m_1)
    left = Add (click_x, one)
    top = Add (click_y, one)
    right = Sub (width, click_x)
    bottom = Sub (height, click_y)
    nearest_edge = Min (left, top, right, bottom)
    edge = Max (nearest_edge, zero)
    within = Min (reach, edge)
    radius = Div (side, root_pi)
    depths = Concat <axis = 1> (within, reach)
    depth_shares = Div (depths, radius)
    f_depth = Min (depth_shares, largest_depth)

    disk_areas = MatMul (area, disks)
    limits = Reshape (disk_areas, shape_m_t_1)
    in_disk = Less (squared_flat, limits)
    in_disk_weights = Cast <to = 1> (in_disk)
    disk = Mul (in_disk_weights, valid_flat)
    disk_or_0 = ReduceSum <keepdims = 0> (disk, axis_2)
    disk_size = Max (disk_or_0, one)
    most = Min (disk_size, area)
    disk_in_mask = Mul (disk, masks_flat)
    filled = ReduceSum <keepdims = 0> (disk_in_mask, axis_2)
    f_disk = Div (filled, most)

    v_predicted = Reshape (f_predicted, shape_flat)
    v_agreement = Reshape (f_agreement, shape_flat)
    v_stability = Reshape (f_stability, shape_flat)
    v_shrink = Reshape (f_shrink, shape_flat)
    v_offset = Reshape (f_offset, shape_flat)
    v_depth = Reshape (f_depth, shape_flat)
    v_disk = Reshape (f_disk, shape_flat)
    features = Concat <axis = 0> (v_predicted, f_iou, v_agreement, f_contained, f_area_ratio, v_stability, v_shrink,
                                  v_offset, v_depth, v_disk)
    row = Reshape (features, shape_1_all)
    centered_row = Sub (row, mean)
    standard_row = Div (centered_row, deviation)
    standard = Clip (standard_row, least_standard, most_standard)
    hidden_product = MatMul (standard, hidden_weight)
    hidden_sum = Add (hidden_product, hidden_bias)
    hidden = Relu (hidden_sum)
    output_product = MatMul (hidden, output_weight)
    output = Add (output_product, output_bias)
    of_network = Sigmoid (output)
    linear_product = MatMul (standard, linear_weight)
    linear_sum = Add (linear_product, linear_bias)
    of_line = Clip (linear_sum, zero, one)
    total = Add (of_network, of_line)
    confidences = Mul (total, half)
    index = ArgMax <axis = 1, keepdims = 0> (confidences)
    best = ReduceMax <axes = [1], keepdims = 0> (confidences)
    confidence = Identity (best)
}
"""


def make_chooser() -> tuple[onnx.ModelProto, float]:
    """Return the graph, and its largest difference from :mod:`mobilesam.masks.chooser`.

    Raises:
        ExportError: it gives other confidences.
        WeightsError: the file of the chooser is damaged.
    """
    graph = onnx.parser.parse_graph(_GRAPH)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in _constants().items())
    metadata = describe(contract.CHOOSER, str(chooser.parameters()["weights_ids"][0]))
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="mobilesam"
    )
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    error = _difference(model)
    if error > _TOLERANCE:
        raise ExportError(
            f"The graph of the chooser differs from the package by {error:g}; at most {_TOLERANCE:g} is allowed. "
            "Report it with the versions that mobilesam doctor shows."
        )
    return model, error


def _constants() -> dict[str, Array]:
    learned = chooser.parameters()
    count, side = chooser.MASKS, _LOGITS // chooser.STEP
    area, places = side * side, np.arange(side, dtype=np.float32)
    numbers: dict[str, float] = {
        "zero": 0,
        "half": 0.5,
        "one": 1,
        "image_size": contract.IMAGE_SIZE,
        "logit": contract.IMAGE_SIZE // _LOGITS,
        "step": chooser.STEP,
        "least_click": -contract.IMAGE_SIZE,
        "most_click": 2 * contract.IMAGE_SIZE,
        "twelfth": 1 / 12,
        "least_determinant": 1 / 144,
        "root_pi": math.sqrt(math.pi),
        "far": chooser.FAR,
        "largest_offset": chooser.LARGEST_OFFSET,
        "largest_depth": chooser.LARGEST_DEPTH,
        "least_log_ratio": -chooser.LARGEST_LOG_RATIO,
        "most_log_ratio": chooser.LARGEST_LOG_RATIO,
        "least_standard": -chooser.LIMIT,
        "most_standard": chooser.LIMIT,
    }
    signs = [*chooser.OFFSETS, *(-offset for offset in chooser.OFFSETS)]
    (first, second), ordered = np.array(chooser.PAIRS).T, np.array(chooser.ORDERED_PAIRS)
    whole: dict[str, Any] = {
        **{f"at_{number}": [number] for number in (0, 1, 2, 3, 6)},
        **{f"axis_{number}": [number] for number in (1, 2)},
        "slice_starts": [0, 0],
        "slice_ends": [_LOGITS, _LOGITS],
        "slice_axes": [2, 3],
        "slice_steps": [chooser.STEP, chooser.STEP],
        "shape_flat": [-1],
        "shape_1_all": [1, -1],
        "shape_1_1_a": [1, 1, area],
        "shape_m_1_a": [count, 1, area],
        "shape_m_p_p": [count, side, side],
        "shape_m_a": [count, area],
        "shape_m_p": [count, side],
        "shape_m_1": [count, 1],
        "shape_m_t_1": [count, len(chooser.DISKS), 1],
        "first": first,
        "second": second,
        "pairs": first * count + second,
        "ordered_pairs": ordered[:, 0] * count + ordered[:, 1],
    }
    return {
        **{name: np.float32(value).reshape(()) for name, value in numbers.items()},
        **{name: np.array(value, np.int64) for name, value in whole.items()},
        "rows": places[:, None],
        "columns": places[None],
        "thresholds": np.array(signs, np.float32)[:, None],
        "disks": (np.array(chooser.DISKS, np.float32) / np.float32(math.pi))[None],
        "mean": learned["mean"],
        "deviation": learned["scale"],
        **{f"{part}_{kind}": learned[f"{part}_{kind}"] for part in ("hidden", "output", "linear")
           for kind in ("weight", "bias")},
    }  # fmt: skip


def _difference(model: onnx.ModelProto) -> float:
    """Return the largest difference of a confidence from the package's, for blobs in images of several shapes."""
    session = open_session(model.SerializeToString(), "cpu")
    random, largest = np.random.default_rng(0), 0.0
    places = np.arange(_LOGITS, dtype=np.float32)
    for hw in ((300, 400), (1000, 333), (64, 64), (5, 900)):
        input_hw = resized_hw(hw, contract.IMAGE_SIZE)
        point = (random.uniform(0, 1, 2) * input_hw[::-1]).astype(np.float32)
        distance = np.hypot(places[None] - point[0] / 4, places[:, None] - point[1] / 4)
        radii = random.uniform(2, 60, 4)[:, None, None]
        logits = ((radii - distance) / 2 + random.normal(0, 1, (4, 1, 1))).astype(np.float32)
        ious = random.uniform(0.3, 1, 4).astype(np.float32)
        feeds = {
            "low_res_masks": logits[None],
            "iou_predictions": ious[None],
            "point_coords": np.stack([point, np.zeros(2, np.float32)])[None],
            "orig_im_size": np.array(hw, np.float32),
        }
        (found,) = session.run(["confidences"], feeds)
        expected = chooser.confidences(logits, ious, point, input_hw)
        largest = max(largest, float(np.abs(found[0] - expected).max()))
    return largest
