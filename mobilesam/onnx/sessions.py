"""Sessions of ONNX Runtime, with the options that measurement chose."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam.arrays import Array
from mobilesam.cores import usable_cores
from mobilesam.errors import InputError, sentence
from mobilesam.onnx import providers

if TYPE_CHECKING:
    import onnx
    import onnxruntime

# Fusing an addition into a layer norm is a loss on a CPU: the fused kernel takes three times as long as both.
_HARMFUL_FUSIONS = ["SkipLayerNormFusion"]


def open_session(
    model: Path | bytes, provider: str = providers.AUTO, threads: int | None = None
) -> onnxruntime.InferenceSession:
    """Open an ONNX file.

    Args:
        model: its path or its bytes.
        provider: a name that :func:`mobilesam.onnx.providers.resolve` knows.
        threads: how many threads an operator uses; by default one for each core that this process may use.

    Raises:
        InputError: the file is not one that ONNX Runtime can run, or the provider does not start.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count = threads or usable_cores()
    if one_thread_per_core(threads):
        others = ";".join(str(core) for core in range(2, count + 1))  # counted from 1; the first is the caller's
        options.add_session_config_entry("session.intra_op_thread_affinities", others)
    options.log_severity_level = 3
    # Threads that wait for the next operator without sleeping are faster, but between two calls they would take the
    # cores from the next session and from NumPy.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    source: Any = model if isinstance(model, bytes) else str(model)
    names = providers.resolve(provider)
    with refusing(
        "ONNX model" if isinstance(model, bytes) else str(model), "be an ONNX file that ONNX Runtime can run"
    ):
        session = onnxruntime.InferenceSession(source, options, providers=names, disabled_optimizers=_HARMFUL_FUSIONS)
    providers.check_used(provider, session.get_providers())
    return session


@contextlib.contextmanager
def refusing(name: str, requirement: str) -> Iterator[None]:
    """Say in our words, as an InputError, that ONNX Runtime cannot open or run a file."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    refused = (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.InvalidProtobuf, ort.NoSuchFile, ort.NotImplemented)
    try:
        yield
    except (*refused, ort.RuntimeException) as error:
        remedy = "export it again, or get it again"
        raise InputError(sentence(name, requirement, str(error), remedy)) from error


def evaluate(model: onnx.ModelProto) -> list[Array]:
    """Return the outputs of a graph without inputs, computed node by node as written."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, {})
    return outputs


def one_thread_per_core(threads: int | None) -> bool:
    """Return whether so many threads, None for the default, are one for each core of the machine.

    ONNX Runtime's own threads then each stay on one core, as they do where ONNX Runtime chooses their number itself.
    The first core is left to the thread that calls. After a pause, a thread that may run anywhere often wakes on the
    core of the one that woke it, and both wait for each other.
    """
    if not hasattr(os, "sched_setaffinity"):
        return False
    return 1 < (threads or usable_cores()) == len(os.sched_getaffinity(0)) == os.cpu_count()


def move_to_first_core() -> None:
    """Move the calling thread to the first core that it may use, without keeping it there."""
    allowed = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):  # the cores of a container can change at any time
        os.sched_setaffinity(0, {min(allowed)})
        os.sched_setaffinity(0, allowed)
