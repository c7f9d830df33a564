"""LiteRT, TensorFlow Lite's successor, on the CPU: the files of ``mobilesam export --to litert``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mobilesam.arrays import Array
from mobilesam.cores import usable_cores
from mobilesam.errors import InputError, missing_dependency, sentence
from mobilesam.files import MALFORMED
from mobilesam.model import MaskModel
from mobilesam.onnx import contract, fixed
from mobilesam.onnx.metadata import PREFIX
from mobilesam.onnx.sam import OnnxSam
from mobilesam.runtimes import Request

NAME = "LiteRT"
SUFFIX = ".tflite"
MANIFEST = "manifest.json"
PRECISIONS = ("float32", "float16", "int8")  # of the weights
_METADATA = ("contract", "model", "weights_sha256", "precision")
_REMEDY = "export the model again with: mobilesam export --to litert"


def open_model(request: Request) -> MaskModel:
    """Open the folder of an export to LiteRT."""
    request.require_no_provider("litert")
    request.require_float32("litert")
    if request.device not in ("auto", "cpu"):
        remedy = "use the backend torch or onnx for another device"
        raise InputError(sentence("device", "be cpu or auto for the backend litert", repr(request.device), remedy))
    if not request.exported or request.exported[0].suffix != SUFFIX:
        actual = f"{request.exported[0] if request.exported else request.find_checkpoint()}"
        raise InputError(sentence("model", "be an export to LiteRT for the backend litert", actual, _REMEDY))
    return open_folder(request.exported[0].parent, request.threads)


def open_folder(folder: Path, threads: int | None = None) -> OnnxSam:
    """Open the files of a folder that its manifest names.

    Raises:
        InputError: a file is missing or damaged, or is not of such an export.
        MissingDependencyError: LiteRT is not installed.
    """
    return OnnxSam.from_roles(opener(folder), threads)


def opener(folder: Path) -> Callable[[str, int | None], fixed.FixedSession]:
    """Return a function that opens the file of a role with a number of threads; errors are those of open_folder."""
    about, files = read_manifest(folder / MANIFEST)
    graphs = fixed.graphs(about["points"], tuple(about["frame_hw"]))
    metadata = {f"{PREFIX}{key}": about[key] for key in _METADATA}

    def open_role(role: str, threads: int | None) -> fixed.FixedSession:
        path, graph = folder / files[role], graphs[role]
        return fixed.FixedSession(graph, lambda: _Run(path, graph, threads), metadata | {f"{PREFIX}role": role}, NAME)

    return open_role


class _Run:
    """An interpreter, for one thread."""

    def __init__(self, path: Path, graph: contract.Graph, threads: int | None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise missing_dependency("ai-edge-litert", "litert", "the backend litert") from error
        try:
            self._interpreter = Interpreter(str(path), num_threads=threads or usable_cores())
            self._runner = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise InputError(f"LiteRT failed to open {path}: {_first_line(error)}. Export the model again.") from error
        details = self._runner.get_input_details()
        shapes = {name: tuple(map(int, each["shape"])) for name, each in details.items()}
        wanted = {value.name: value.shape for value in graph.inputs}
        if shapes != wanted:
            raise InputError(sentence(f"the inputs of {path}", f"be {wanted}", shapes, _REMEDY))

    def __call__(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        outputs: Mapping[str, Array] = self._runner(**inputs)
        return outputs


def read_manifest(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the content of a manifest, and the name of the file of each role.

    Raises:
        InputError: it is damaged or of another export, or a file is missing.
    """
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        files = {str(each["role"]): str(each["file"]) for each in about["files"]}
        points, (height, width) = about["points"], about["frame_hw"]
        known = about["runtime"] == "litert" and str(about["contract"]) == str(contract.VERSION)
        if not known or not all(isinstance(each, int) and each > 0 for each in (points, height, width)):
            raise ValueError("it describes other files")
        digests = {str(each["file"]): each.get("sha256") for each in about["files"]}
        for name in files.values():
            if Path(name).name != name:
                raise ValueError(f"{name!r} is not the name of a file")
            if not (path.parent / name).is_file():
                raise ValueError(f"the file {name} is missing")
            if digests[name] not in (None, hashlib.sha256((path.parent / name).read_bytes()).hexdigest()):
                raise ValueError(f"the file {name} is damaged")
        for role in (graph.role for graph in fixed.PARTS):
            if role not in files:
                raise ValueError(f"it has no {role}")
        for key in _METADATA:
            if not isinstance(about[key], str):
                raise ValueError(f"{key} is not a text")
        if about["precision"] not in PRECISIONS:
            raise ValueError(f"its precision is {about['precision']!r}")
    except MALFORMED as error:
        actual = f"{path} ({getattr(error, 'strerror', None) or error})"
        raise InputError(sentence("manifest", "describe an export to LiteRT", actual, _REMEDY)) from error
    return about, files


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
