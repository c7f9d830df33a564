"""The learned expectation of everything mode as an ONNX graph, for browsers and phones.

It computes :func:`mobilesam.automatic.expected_masks.log_rates` at every cell of an image embedding. A program takes
the values at the cells of its points.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from mobilesam.automatic import expected_masks
from mobilesam.export.learned_graphs import finish
from mobilesam.onnx import contract
from mobilesam.onnx.sessions import open_session

_GRAPH = """
expectation (float[1, 256, 64, 64] image_embeddings) => (float[1, 4, 64, 64] log_rates)
{
    hidden = Conv (image_embeddings, hidden_weight, hidden_bias)
    active = Relu (hidden)
    logits = Conv (active, output_weight, output_bias)
    negative = Neg (logits)
    softplus = Softplus (negative)
    log_rates = Neg (softplus)
}
"""


def make_expectation() -> tuple[onnx.ModelProto, float]:
    """Return the graph, and its largest difference from :mod:`mobilesam.automatic.expected_masks`.

    Raises:
        ExportError: it gives other values.
        WeightsError: the file of the expectation is damaged.
    """
    learned = expected_masks.FILE.arrays
    graph = onnx.parser.parse_graph(_GRAPH)
    for part in ("hidden", "output"):
        kernel = np.ascontiguousarray(learned[f"{part}_weight"].T)[:, :, None, None]
        graph.initializer.append(numpy_helper.from_array(kernel, f"{part}_weight"))
        graph.initializer.append(numpy_helper.from_array(learned[f"{part}_bias"], f"{part}_bias"))
    return finish(graph, contract.EXPECTATION, str(learned["weights_ids"][0]), _difference)


def _difference(model: onnx.ModelProto) -> float:
    """Return the largest difference from the package's values, for random embeddings."""
    features = np.random.default_rng(0).normal(0, 0.2, (1, 256, 64, 64)).astype(np.float32)
    (computed,) = open_session(model.SerializeToString(), "cpu").run(None, {"image_embeddings": features})
    expected = expected_masks.log_rates(features[0].reshape(256, -1).T, expected_masks.FILE.arrays)
    return float(np.abs(computed.reshape(expected.shape) - expected).max())
