"""Serve the ONNX files of a model repository with KServe's Python server, which speaks Triton's HTTP protocol.

pip install kserve==0.21.0 onnxruntime
python -m benchmarks.clients.triton_kserve MODELS PORT
"""

from __future__ import annotations

import argparse
import uuid
from pathlib import Path

import numpy as np
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

_TYPES = {"float32": "FP32", "int64": "INT64", "uint8": "UINT8"}


class Graph(Model):
    """A model of the repository."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._outputs = [value.name for value in self._session.get_outputs()]
        self.ready = True

    def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        """Return the outputs that the request names."""
        feeds = {each.name: each.as_numpy() for each in payload.inputs}
        wanted = [each.name for each in payload.request_outputs or []] or self._outputs
        outputs = []
        for name, array in zip(wanted, self._session.run(wanted, feeds), strict=True):
            output = InferOutput(name, list(array.shape), _TYPES[array.dtype.name])
            output.set_data_from_numpy(np.ascontiguousarray(array), binary_data=True)
            outputs.append(output)
        return InferResponse(payload.id or str(uuid.uuid4()), self.name, outputs)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    graphs = [Graph(path.parent.parent.name, path) for path in sorted(options.models.glob("*/1/model.onnx"))]
    ModelServer(http_port=options.port, enable_grpc=False, workers=1).start(graphs)


if __name__ == "__main__":
    main()
