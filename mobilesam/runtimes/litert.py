"""LiteRT, TensorFlow Lite's successor, on the CPU: the files of ``mobilesam export --to litert``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mobilesam.arrays import Array
from mobilesam.cores import usable_cores
from mobilesam.errors import InputError, missing_dependency, sentence
from mobilesam.model import MaskModel
from mobilesam.onnx import contract, fixed, fixed_folder
from mobilesam.onnx.sam import OnnxSam
from mobilesam.runtimes import Request


def open_model(request: Request) -> MaskModel:
    """Open the folder of an export to LiteRT."""
    folder = fixed_folder.read(request.require_folder("litert", "LiteRT"), "litert")
    return OnnxSam.from_roles(folder.opener(open_run), request.threads, roles=folder.files)


def open_run(path: Path, graph: contract.Graph, threads: int | None) -> Callable[[], fixed.Run]:
    """Return what opens a file for one thread.

    Raises:
        InputError: LiteRT cannot open the file, or it has other inputs than the graph.
        MissingDependencyError: LiteRT is not installed.
    """
    return lambda: _Run(path, graph, threads)


class _Run:
    """An interpreter, for one thread."""

    def __init__(self, path: Path, graph: contract.Graph, threads: int | None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise missing_dependency("ai-edge-litert", "litert", "the backend litert", alone=True) from error
        try:
            self._interpreter = Interpreter(str(path), num_threads=threads or usable_cores())
            self._runner = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise InputError(f"LiteRT failed to open {path}: {_first_line(error)}. Export the model again.") from error
        details = self._runner.get_input_details()
        shapes = {name: tuple(map(int, each["shape"])) for name, each in details.items()}
        wanted = {value.name: value.shape for value in graph.inputs}
        if shapes != wanted:
            remedy = "export the model again with: mobilesam export --to litert"
            raise InputError(sentence(f"the inputs of {path}", f"be {wanted}", shapes, remedy))

    def __call__(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        outputs: Mapping[str, Array] = self._runner(**inputs)
        return outputs


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
