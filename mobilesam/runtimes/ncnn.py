"""ncnn, on the CPU: the files of ``mobilesam export --to ncnn``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mobilesam.arrays import Array
from mobilesam.cores import usable_cores
from mobilesam.errors import InputError, missing_dependency
from mobilesam.model import MaskModel
from mobilesam.onnx import contract, fixed, fixed_folder
from mobilesam.onnx.sam import OnnxSam
from mobilesam.runtimes import Request

_UNBATCHED = 233  # ncnn's number for an array without a batch axis
# Off are the rounding of activations, where the processor has instructions for it, and the packing of channels: with it
# the encoder, which reshapes a lot, took twice as long on x86.
_OFF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_packing_layout")


def open_model(request: Request) -> MaskModel:
    """Open the folder of an export to ncnn."""
    folder = fixed_folder.read(request.require_folder("ncnn", "ncnn"), "ncnn")
    return OnnxSam.from_roles(folder.opener(open_run), request.threads, roles=folder.files)


def open_run(path: Path, graph: contract.Graph, threads: int | None) -> Callable[[], fixed.Run]:
    """Return what opens a file for one thread; threads share a network.

    Args:
        path: that of the operators; the weights are in the file of the same name with the suffix .bin.

    Raises:
        InputError: ncnn cannot open the files.
        MissingDependencyError: ncnn is not installed.
    """
    try:
        import ncnn
    except ImportError as error:
        raise missing_dependency("ncnn", "ncnn", "the backend ncnn", alone=True) from error
    net = ncnn.Net()
    net.opt.num_threads = threads or usable_cores()
    for option in _OFF:
        setattr(net.opt, option, False)
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise InputError(f"ncnn failed to open {path}. Export the model again with: mobilesam export --to ncnn.")
    shapes = {value.name: tuple(int(dim) for dim in value.shape) for value in graph.outputs}

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        extractor = net.create_extractor()
        # The names of blobs are their places.
        for place, value in enumerate(graph.inputs):
            given = np.ascontiguousarray(inputs[value.name], np.float32)
            matrix = ncnn.Mat(given, batch_index=0 if given.ndim > 1 else _UNBATCHED).clone()
            extractor.input(f"in{place}", matrix)
        outputs = {}
        for place, (name, shape) in enumerate(shapes.items()):
            failed, matrix = extractor.extract(f"out{place}")
            if failed:
                raise InputError(f"ncnn failed to compute {name!r} of {path}. Free some memory, or export it again.")
            outputs[name] = np.array(matrix.numpy(), np.float32).reshape(shape)  # a copy, because ncnn frees its own
        return outputs

    return lambda: run
