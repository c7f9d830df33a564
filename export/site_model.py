"""The model in a folder for a browser: its graphs, what was learned on its weights, ONNX Runtime, and the manifest."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mobilesam._version import __version__
from mobilesam.automatic import expected_masks
from mobilesam.config import DEFAULT, FLOAT32
from mobilesam.errors import InputError, sentence
from mobilesam.export import site_runtime
from mobilesam.export.expectation_graph import make_expectation
from mobilesam.export.quantize import quantize
from mobilesam.export.site_source import GRAPHS
from mobilesam.learned import Learned
from mobilesam.masks import choosers
from mobilesam.onnx import contract, metadata, recognition

VERSION = 1  # of the manifest

_WEIGHTS, _RUNTIME, _LEARNED = "weights", "runtime", "weights/learned.json"
_CHECK, _CHECK_STEP = "weights/webgpu_check.bin", 128  # one of so many values of an embedding
_INPUT_SIDE = 1024  # of the encoder
_DATA = ".data"  # the suffix of the weights of a graph that is larger than a file can be


def model_files(
    source: Path,
    graphs: Sequence[contract.Graph],
    precision: str = FLOAT32,
    progress: Callable[[str], object] = lambda stage: None,
) -> dict[str, bytes]:
    """Return graphs of a model, and what was learned on its weights.

    Args:
        source: a folder with an encoder and a split decoder, and the choosers of the model if it has its own.
        graphs: those that are wanted.
        precision: a recipe of quantization, or "float32", which leaves the graphs as they are.
        progress: called with a description of each stage.

    Raises:
        InputError: the source has other graphs.
    """
    parts = recognition.whole_model(recognition.files_of(source))
    _refuse_other_graphs(parts, source)
    about = metadata.of(parts[contract.ENCODER.role][1])
    with tempfile.TemporaryDirectory(prefix="mobilesam-") as folder:
        paths = {graph.role: parts[graph.role][0] for graph in graphs}
        if precision != FLOAT32 and about["precision"] == FLOAT32:
            for file in quantize(source, Path(folder), progress=progress):
                paths[file.role] = Path(folder) / file.name
        contents = {_graph_file(graph): paths[graph.role].read_bytes() for graph in graphs}
    return contents | _learned(source, about["weights_sha256"], with_expectation=contract.ENCODER in graphs)


def _refuse_other_graphs(parts: recognition.Parts, source: Path) -> None:
    remedy = "write it with: mobilesam export --parts encoder,split_decoder"
    for graph in GRAPHS:
        if graph.role not in parts:
            requirement = "have an encoder and a split decoder"
            raise InputError(sentence("model", requirement, f"{source} without {graph.role}", remedy))
        path, model = parts[graph.role]
        if path.with_name(path.name + _DATA).exists():
            remedy = "choose a smaller model, such as mobile_sam"
            raise InputError(sentence("model", "be small enough for a browser", f"{path} of over 2 GB", remedy))
        if metadata.of(model).get("contract") != str(contract.VERSION):
            raise InputError(sentence("model", "be written by mobilesam export", path, remedy))
    path, model = parts[contract.ENCODER.role]
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if [value.name for value in inputs] != contract.ENCODER.input_names or len(
        inputs[0].type.tensor_type.shape.dim
    ) != 4:
        actual = f"{path} with other options"
        raise InputError(sentence("encoder", "be one of mobilesam export's default options", actual, remedy))


def _learned(source: Path, weights_id: str, *, with_expectation: bool) -> dict[str, bytes]:
    """Return the files of what was learned on the weights of a model in a folder.

    with_expectation: whether everything mode is among them.
    """
    own = choosers.find(source, lambda: weights_id)
    learned: tuple[Learned, ...] = (*own, expected_masks.FILE)
    point, box, expectation = (each.arrays if each.knows(weights_id) else None for each in learned)
    if not (point or box or expectation):
        return {}
    about = {
        "chooser": point and _encoded(point),
        "box_chooser": box and _encoded(box),
        "expectation": expectation
        and {"least": {mode: float(expectation[f"least_{mode}"]) for mode in ("balanced", "fast")}},
    }
    if not (expectation and with_expectation):
        return {_LEARNED: _as_json(about)}
    model, _ = make_expectation()
    return {_graph_file(contract.EXPECTATION): model.SerializeToString(), _LEARNED: _as_json(about)}


def _encoded(learned: Mapping[str, Any]) -> dict[str, str]:
    """Return the arrays of numbers as base64 of little-endian float32."""
    arrays = {key: np.asarray(array, "<f4") for key, array in learned.items() if array.dtype.kind == "f"}
    return {key: base64.b64encode(array.tobytes()).decode() for key, array in arrays.items()}


def _graph_file(graph: contract.Graph) -> str:
    return f"{_WEIGHTS}/{graph.file_name}"


def runtime_files(paths: Sequence[Path]) -> dict[str, bytes]:
    """Return the files of :func:`mobilesam.export.site_runtime.fetch`."""
    return {f"{_RUNTIME}/{path.name}": path.read_bytes() for path in paths}


def webgpu_check(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the file with which a page tests WebGPU: part of the embedding of ``knownInput`` in webgpu.js."""
    import onnxruntime

    session = onnxruntime.InferenceSession(contents[_graph_file(contract.ENCODER)], providers=["CPUExecutionProvider"])
    shape = (1, 3, _INPUT_SIDE, _INPUT_SIDE)
    values = (np.arange(math.prod(shape)) % 1021 * 31 % 509 / 254 - 1).astype(np.float32).reshape(shape)
    (embedding,) = session.run(None, {contract.ENCODER.input_names[0]: values})
    return {_CHECK: embedding.ravel()[::_CHECK_STEP].astype("<f4").tobytes()}


def _places(module: str, loader: str, wasm: str) -> dict[str, str]:
    return {"module": f"{_RUNTIME}/{module}", "mjs": f"{_RUNTIME}/{loader}", "wasm": f"{_RUNTIME}/{wasm}"}


def manifest(
    contents: Mapping[str, bytes], about_page: Mapping[str, Any] = MappingProxyType({}), name: str | None = None
) -> bytes:
    """Return what webui/static/model/files.js reads: the names, sizes and digests of files, and the model.

    about_page: what else the page reads. name: of the model, by default that in its graphs.
    """
    import onnx

    graphs = {graph.role: _graph_file(graph) for graph in (*GRAPHS, contract.EXPECTATION)}
    about = metadata.of(onnx.load_from_string(contents[_graph_file(contract.SPLIT_DECODER[0])]))
    content: dict[str, Any] = {
        **about_page,
        "version": VERSION,
        "mobilesam": __version__,
        "model": {
            "name": name or about.get("model", DEFAULT),
            "weights_sha256": about["weights_sha256"],
            "precision": about["precision"],
        },
        "graphs": {role: name for role, name in graphs.items() if name in contents},
        **({"learned": _LEARNED} if _LEARNED in contents else {}),
        "runtime": {
            "package": site_runtime.PACKAGE,
            **_places(site_runtime.MODULE, site_runtime.LOADER, site_runtime.WASM),
        },
        **({"webgpu": {**_places(*site_runtime.GPU), "check": _CHECK}} if _CHECK in contents else {}),
        "files": [
            {"file": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        ],
    }
    return _as_json(content)


def _as_json(value: object) -> bytes:
    """Return a value as indented JSON."""
    return json.dumps(value, indent=2).encode() + b"\n"
