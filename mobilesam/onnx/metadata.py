"""The metadata of the ONNX files of this package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mobilesam._version import __version__
from mobilesam.config import DEFAULT, FLOAT32, VARIANTS
from mobilesam.image.model_input import PIXEL_MEAN, PIXEL_STD
from mobilesam.onnx import contract

if TYPE_CHECKING:
    import onnx
    import onnxruntime

PREFIX = "mobilesam."


def describe(graph: contract.Graph, weights_id: str, precision: str = FLOAT32, model: str = DEFAULT) -> dict[str, str]:
    """Return the metadata of a file: its network, its role, its weights, and the preprocessing of images."""
    entries = {
        "contract": str(contract.VERSION),
        "model": model,
        "role": graph.role,
        "weights_sha256": weights_id,
        "precision": precision,
        "version": __version__,
    }
    if graph.role == contract.ENCODER.role:
        in_graph = len(graph.inputs[0].shape) == 3
        preprocessing = {
            "resize": f"longer side to {VARIANTS[model].image_size}, bilinear with antialiasing",
            "channels": "RGB",
            "layout": "HWC" if in_graph else "NCHW",
            "range": "0..255" if in_graph else "(pixel - mean) / std",
            "mean": PIXEL_MEAN,
            "std": PIXEL_STD,
            "padding": "done in the graph" if in_graph else "zeros to the right and below",
        }
        entries["preprocessing"] = json.dumps(preprocessing)
    return {f"{PREFIX}{key}": value for key, value in entries.items()}


def read(session: onnxruntime.InferenceSession) -> dict[str, str]:
    """Return this package's metadata of a session, without the prefix; empty for a file of another exporter."""
    return _without_prefix(session.get_modelmeta().custom_metadata_map)


def of(model: onnx.ModelProto) -> dict[str, str]:
    """Return this package's metadata of a graph, as :func:`read` does."""
    return _without_prefix({entry.key: entry.value for entry in model.metadata_props})


def _without_prefix(entries: dict[str, str]) -> dict[str, str]:
    return {key.removeprefix(PREFIX): value for key, value in entries.items() if key.startswith(PREFIX)}
