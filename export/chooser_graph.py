"""The learned chooser as an ONNX graph, so that browsers and phones need no second implementation.

It computes what :func:`mobilesam.masks.chooser.confidences` does, from the outputs of the SAM decoder with all four
masks. Its operators are those of opset 17, of rank 4 at most, and without GatherND, Expand and ConvTranspose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from mobilesam.arrays import Array
from mobilesam.export.chooser_text import GRAPH
from mobilesam.export.learned_graphs import finish
from mobilesam.geometry import resized_hw
from mobilesam.learned import Learned
from mobilesam.masks import chooser
from mobilesam.onnx import contract
from mobilesam.onnx.sessions import open_session

_LOGITS = contract.LOGITS_SIZE


def make_chooser(learned: Learned, weights_id: str) -> tuple[onnx.ModelProto, float]:
    """Return the graph of a chooser, and its largest difference from :mod:`mobilesam.masks.chooser`.

    Args:
        learned: the chooser of a click.
        weights_id: of the weights that the graph is for.

    Raises:
        ExportError: it gives other confidences.
        WeightsError: the file of the chooser is damaged.
    """
    graph = onnx.parser.parse_graph(GRAPH)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in _constants(learned.arrays).items())
    return finish(graph, contract.CHOOSER, weights_id, lambda model: _difference(model, learned.arrays))


def _constants(learned: Mapping[str, Any]) -> dict[str, Array]:
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


def _difference(model: onnx.ModelProto, learned: Mapping[str, Any]) -> float:
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
        (computed,) = session.run(["confidences"], feeds)
        expected = chooser.confidences(logits, ious, point, input_hw, learned=learned)
        largest = max(largest, float(np.abs(computed[0] - expected).max()))
    return largest
