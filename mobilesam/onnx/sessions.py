"""Sessions of ONNX Runtime, with the fastest measured options."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam.arrays import Array
from mobilesam.cores import usable_cores
from mobilesam.errors import InputError
from mobilesam.onnx import providers

if TYPE_CHECKING:
    import onnx
    import onnxruntime

# On a CPU, the fused kernel of an addition and a layer norm takes three times as long as the two operators.
_HARMFUL_FUSIONS = ["SkipLayerNormFusion"]
_SMALL = 1024  # bytes of a constant that stays in the file of an optimized graph


def open_session(
    model: Path | bytes, provider: str = providers.AUTO, threads: int | None = None, *, is_optimized: bool = False
) -> onnxruntime.InferenceSession:
    """Open an ONNX file.

    Args:
        model: its path or its bytes.
        provider: a name for :func:`mobilesam.onnx.providers.resolve`.
        threads: the number of threads of an operator; by default one for each core that this process may use.
        is_optimized: whether :func:`optimize` wrote the file.

    Raises:
        InputError: ONNX Runtime cannot open the file, or the provider does not start.
    """
    import onnxruntime

    if os.environ.get("ORT_DISABLE_TELEMETRY") != "0":  # also where it was imported before this package
        onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count = threads or usable_cores()
    if one_thread_per_core(threads):
        others = ";".join(str(core) for core in range(2, count + 1))  # counted from 1; the caller runs on the first
        options.add_session_config_entry("session.intra_op_thread_affinities", others)
    options.log_severity_level = 3
    if is_optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Threads that spin between operators are faster. Between two calls they would slow the next session and NumPy.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    source: Any = model if isinstance(model, bytes) else str(model)
    names = providers.resolve(provider)
    with ort_errors("open the ONNX model" if isinstance(model, bytes) else f"open {model}"):
        session = onnxruntime.InferenceSession(source, options, providers=names, disabled_optimizers=_HARMFUL_FUSIONS)
    providers.check_used(provider, session.get_providers())
    return session


def optimize(model: Path | bytes, target: Path) -> None:
    """Write the graph that ONNX Runtime makes of a model for the CPU; its weights are in a file ``NAME.onnx.data``.

    Raises:
        InputError: ONNX Runtime cannot open the model, or cannot write the files.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.disable_prepacking", "1")  # it takes memory, and changes no file
    options.optimized_model_filepath = str(target)
    key = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{key}_file_name", f"{target.name}.data")
    options.add_session_config_entry(f"{key}_min_size_in_bytes", str(_SMALL))
    with ort_errors(f"optimize the graph {target.name}"):
        onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=[providers.PROVIDERS["cpu"]],
            disabled_optimizers=_HARMFUL_FUSIONS,
        )


@contextlib.contextmanager
def ort_errors(action: str) -> Iterator[None]:
    """Raise InputError if ONNX Runtime fails to do ``action``, such as "open FILE"."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    errors = (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.InvalidProtobuf, ort.NoSuchFile, ort.NotImplemented)
    try:
        yield
    except (*errors, ort.RuntimeException) as error:
        message = f"ONNX Runtime failed to {action}: {error}. Export the model again, or download it again."
        raise InputError(message) from error


def evaluate(model: onnx.ModelProto) -> list[Array]:
    """Return the outputs of a graph without inputs, computed without optimizations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, {})
    return outputs


def one_thread_per_core(threads: int | None) -> bool:
    """Return whether this number of threads, None for the default, is one for each core of the machine.

    The threads of ONNX Runtime are then pinned to one core each, as with ONNX Runtime's default number of threads. The
    first core is left to the calling thread. After a pause, an unpinned thread often wakes on the core of the thread
    that woke it, and both wait for each other.
    """
    if not hasattr(os, "sched_setaffinity"):
        return False
    return 1 < (threads or usable_cores()) == len(os.sched_getaffinity(0)) == os.cpu_count()


def move_to_first_core() -> None:
    """Move the calling thread to the first core that it may use, without pinning it."""
    allowed = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):  # the cores of a container can change at any time
        os.sched_setaffinity(0, {min(allowed)})
        os.sched_setaffinity(0, allowed)
