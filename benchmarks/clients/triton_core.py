"""Serve a model repository with Triton's server, where its ONNX Runtime backend is not installed.

    pip install nvidia-pytriton==0.7.0 onnxruntime pillow    # with NumPy 1, which the backend was built for
    python -m benchmarks.clients.triton_core MODELS PORT

The wheel has Triton's own server, with its Python backend alone. So a copy of the repository names that backend, and a
``model.py`` opens ``model.onnx`` and concatenates the requests of a batch, as the ONNX Runtime backend does. The rest
of each ``config.pbtxt`` is that of the repository, and Triton checks requests and responses against it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

_MODEL = """
import json

import numpy as np
import onnxruntime
import triton_python_backend_utils as utils


class TritonPythonModel:
    def initialize(self, args):
        self.batches = json.loads(args["model_config"])["max_batch_size"] > 0
        folder = f"{args['model_repository']}/{args['model_version']}"
        self.session = onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])
        self.outputs = [value.name for value in self.session.get_outputs()]

    def execute(self, requests):
        names = [value.name for value in self.session.get_inputs()]
        feeds = [{name: utils.get_input_tensor_by_name(each, name).as_numpy() for name in names} for each in requests]
        sizes = [len(feed[names[0]]) for feed in feeds]
        if self.batches:
            utils.Logger.log_info(f"a batch of {sum(sizes)} from {len(sizes)} requests")
            whole = self.session.run(None, {name: np.concatenate([feed[name] for feed in feeds]) for name in names})
            ends = np.cumsum(sizes)[:-1]
            results = zip(*(np.split(each, ends) for each in whole), strict=True)
        else:
            results = [self.session.run(None, feed) for feed in feeds]
        return [
            utils.InferenceResponse(
                [
                    utils.Tensor(name, np.ascontiguousarray(array))
                    for name, array in zip(self.outputs, arrays, strict=True)
                ]
            )
            for arrays in results
        ]
"""


def main() -> None:
    """Copy the repository, and become the server."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    # The backend's Python does not read PYTHONPATH.
    paths = [str(Path(module.__file__).parent.parent) for module in (np, onnxruntime)]
    head = f"import sys\n\nsys.path[:0] = {paths}\n"
    models, backends = scratch / "models", scratch / "backends"
    shutil.copytree(options.models, models)
    for config in models.glob("*/config.pbtxt"):
        text = config.read_text()
        if 'backend: "onnxruntime"' in text:
            config.write_text(text.replace('backend: "onnxruntime"', 'backend: "python"'))
            (config.parent / "1" / "model.py").write_text(head + _MODEL)
    spec = importlib.util.find_spec("pytriton")  # not imported, since it needs more packages than its server
    package = Path(spec.origin).parent
    root = package / "tritonserver"
    shutil.copytree(root / "backends", backends)
    stubs = root / "python_backend_stubs" / "{}.{}".format(*sys.version_info)
    shutil.copy(stubs / "triton_python_backend_stub", backends / "python")
    libraries = f"{package.parent}/nvidia_pytriton.libs:{sys.base_prefix}/lib"
    os.environ["LD_LIBRARY_PATH"] = f"{libraries}:{os.environ.get('LD_LIBRARY_PATH', '')}".rstrip(":")
    arguments = {
        "model-repository": models,
        "backend-directory": backends,
        # For a machine that is busy: the backend gives up when one of its processes has waited ten seconds for another.
        "backend-config": "python,stub-timeout-seconds=300",
        "model-load-thread-count": 1,
        "http-port": options.port,
        "allow-grpc": "false",
        "allow-metrics": "false",
    }
    program = str(root / "bin" / "tritonserver")
    os.execv(program, [program, *(f"--{name}={value}" for name, value in arguments.items())])


if __name__ == "__main__":
    main()
