"""What the graphs of small learned models have in common: opset, metadata, and the comparison with the package."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from mobilesam.errors import ExportError
from mobilesam.onnx import contract
from mobilesam.onnx.metadata import describe

OPSET = 17
_IR_VERSION = 8
_TOLERANCE = 1e-4


def finish(
    graph: onnx.GraphProto, about: contract.Graph, weights_id: str, difference: Callable[[onnx.ModelProto], float]
) -> tuple[onnx.ModelProto, float]:
    """Return a graph as a model, and what ``difference`` says of it.

    Args:
        weights_id: of the weights that it was learned on.
        difference: returns the largest difference from the package's values.

    Raises:
        ExportError: the difference is too large.
    """
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="mobilesam"
    )
    onnx.helper.set_model_props(model, describe(about, weights_id))
    onnx.checker.check_model(model, full_check=True)
    error = difference(model)
    if error > _TOLERANCE:
        raise ExportError(
            f"The graph {about.role!r} differs from the package by {error:g}; at most {_TOLERANCE:g} is allowed. "
            "Report it with the versions that mobilesam doctor shows."
        )
    return model, error
