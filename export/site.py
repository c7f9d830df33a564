"""A folder of static files that segments images in a browser tab: scripts, a model, and ONNX Runtime for browsers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.resources
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mobilesam._version import __version__
from mobilesam.automatic import expected_masks
from mobilesam.config import DEFAULT, FLOAT32
from mobilesam.errors import InputError, sentence
from mobilesam.export import site_runtime
from mobilesam.export.expectation_graph import make_expectation
from mobilesam.export.quantize import quantize
from mobilesam.export.recipes import Recipe
from mobilesam.export.site_source import GRAPHS
from mobilesam.files import exists
from mobilesam.learned import LearnedFile
from mobilesam.masks import box_chooser, chooser
from mobilesam.onnx import contract, metadata, recognition

MANIFEST = "manifest.json"
VERSION = 1  # of the manifest; webui/static/model/files.js reads it
PRECISIONS = (Recipe.weights.value, FLOAT32)

_WEIGHTS, _RUNTIME, _LEARNED = "weights", "runtime", "weights/learned.json"
_DATA = ".data"  # the suffix of the weights of a graph that is larger than a file can be


class Site(NamedTuple):
    """path: the folder; files: the size of each file by name."""

    path: Path
    files: dict[str, int]


def write_site(
    source: Path,
    out: Path,
    runtime: Sequence[Path],
    *,
    precision: str = Recipe.weights.value,
    force: bool = False,
    progress: Callable[[str], object] = lambda stage: None,
) -> Site:
    """Write the folder. It appears complete or not at all.

    Args:
        source: a folder with an encoder and a split decoder, see :mod:`mobilesam.export.site_source`.
        out: the folder to write.
        runtime: the files of :func:`mobilesam.export.site_runtime.fetch`.
        precision: "weights", large weights in int8; or "float32". Files that are quantized stay as they are.
        force: replace a folder that this function wrote.
        progress: called with a description of each stage.

    Raises:
        InputError: the source is not such a folder, or ``out`` exists or cannot be written.
    """
    refuse_out(out, force=force)
    contents = {**_scripts(), **_model(source, precision, progress)}
    contents |= {f"{_RUNTIME}/{path.name}": path.read_bytes() for path in runtime}
    progress("writing the folder")
    with _replaced(out) as made:
        for name, content in (contents | {MANIFEST: _manifest(contents)}).items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes(content)
    return Site(out, {name: len(content) for name, content in contents.items()})


def refuse_out(out: Path, *, force: bool) -> None:
    """Check before any work that the folder can be written.

    Raises:
        InputError: it exists and ``force`` is false, has files that :func:`write_site` did not write, or its parent
            cannot be written.
    """
    if exists(out) and not (out.is_dir() and not any(out.iterdir())):
        if not force:
            remedy = "choose another --out, or replace it with --force"
            raise InputError(sentence("out", "not exist yet", out, remedy))
        if other := _other_file(out):
            remedy = "choose another --out, or move the file"
            raise InputError(sentence("out", "be a folder that mobilesam site wrote", f"{out} with {other}", remedy))
    existing = next(path for path in out.absolute().parents if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(sentence("out", "be in a folder that can be written", existing, "choose another --out"))


def _other_file(folder: Path) -> str | None:
    """Return the name of a file that is not in the manifest of a folder."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        known = {MANIFEST, *(entry["file"] for entry in manifest["files"])} if manifest["runtime"] else set()
    except (OSError, ValueError, LookupError, TypeError):
        known = set()
    if not folder.is_dir():
        return folder.name
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    return next((name for name in names if name not in known), None)


@contextlib.contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """Yield a new folder beside ``out``; it gets that name on success, and is removed on any failure."""
    token = secrets.token_hex(8)
    made, old = (out.absolute().with_name(f".{out.absolute().name[:40]}.{token}.{kind}") for kind in ("partial", "old"))
    try:
        made.mkdir(parents=True)
        yield made
        if out.is_dir():
            out.replace(old)
        made.replace(out)
    except OSError as error:
        if old.exists() and not out.exists():
            old.replace(out)
        reason = error.strerror or type(error).__name__
        remedy = "choose another --out"
        raise InputError(sentence("out", "be a folder that can be written", f"{out} ({reason})", remedy)) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _scripts() -> dict[str, bytes]:
    """Return the scripts, and the example that uses them."""
    static = importlib.resources.files("mobilesam.webui").joinpath("static")
    example = importlib.resources.files("mobilesam.export").joinpath("site_files")
    package = {
        "name": "mobilesam",
        "version": __version__,
        "type": "module",
        "exports": {".": "./mobilesam.js", "./*": "./*"},
        "license": "Apache-2.0",
    }
    return {
        "mobilesam.js": static.joinpath("mobilesam.js").read_bytes(),
        **_files_in(static.joinpath("model"), "model/"),
        **_files_in(example, ""),
        "package.json": _as_json(package),
    }


def _files_in(folder: Traversable, prefix: str) -> dict[str, bytes]:
    return {f"{prefix}{file.name}": file.read_bytes() for file in sorted(folder.iterdir(), key=str) if file.is_file()}


def _model(source: Path, precision: str, progress: Callable[[str], object]) -> dict[str, bytes]:
    """Return the graphs of a model, and what was learned on its weights."""
    parts = recognition.whole_model(recognition.files_of(source))
    _refuse_other_graphs(parts, source)
    about = metadata.of(parts[contract.ENCODER.role][1])
    with tempfile.TemporaryDirectory(prefix="mobilesam-") as folder:
        paths = {graph.role: parts[graph.role][0] for graph in GRAPHS}
        if precision != FLOAT32 and about["precision"] == FLOAT32:
            for file in quantize(source, Path(folder), progress=progress):
                paths[file.role] = Path(folder) / file.name
        contents = {_graph_file(graph): paths[graph.role].read_bytes() for graph in GRAPHS}
    return contents | _learned(about["weights_sha256"])


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


def _learned(weights_id: str) -> dict[str, bytes]:
    """Return the files of what was learned on weights, if it was learned on these."""
    files = (chooser.FILE, box_chooser.FILE, expected_masks.FILE)
    if not all(file.knows(weights_id) for file in files):
        return {}
    learned = expected_masks.FILE.arrays
    about = {
        "chooser": _arrays(chooser.FILE),
        "box_chooser": _arrays(box_chooser.FILE),
        "expectation": {"least": {mode: float(learned[f"least_{mode}"]) for mode in ("balanced", "fast")}},
    }
    model, _ = make_expectation()
    return {_graph_file(contract.EXPECTATION): model.SerializeToString(), _LEARNED: _as_json(about)}


def _arrays(file: LearnedFile) -> dict[str, str]:
    """Return the arrays of numbers as base64 of little-endian float32."""
    arrays = {key: np.asarray(array, "<f4") for key, array in file.arrays.items() if array.dtype.kind == "f"}
    return {key: base64.b64encode(array.tobytes()).decode() for key, array in arrays.items()}


def _graph_file(graph: contract.Graph) -> str:
    return f"{_WEIGHTS}/{graph.file_name}"


def _manifest(contents: Mapping[str, bytes]) -> bytes:
    import onnx

    graphs = {graph.role: _graph_file(graph) for graph in (*GRAPHS, contract.EXPECTATION)}
    about = metadata.of(onnx.load_from_string(contents[_graph_file(contract.ENCODER)]))
    manifest: dict[str, Any] = {
        "version": VERSION,
        "mobilesam": __version__,
        "model": {
            "name": about.get("model", DEFAULT),
            "weights_sha256": about["weights_sha256"],
            "precision": about["precision"],
        },
        "graphs": {role: name for role, name in graphs.items() if name in contents},
        **({"learned": _LEARNED} if _LEARNED in contents else {}),
        "runtime": {
            "package": site_runtime.PACKAGE,
            "module": f"{_RUNTIME}/{site_runtime.MODULE}",
            "mjs": f"{_RUNTIME}/{site_runtime.LOADER}",
            "wasm": f"{_RUNTIME}/{site_runtime.WASM}",
        },
        "files": [
            {"file": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        ],
    }
    return _as_json(manifest)


def _as_json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
