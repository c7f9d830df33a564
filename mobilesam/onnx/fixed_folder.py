"""The folder of an export of fixed graphs: its manifest, and the files that the manifest names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam.errors import InputError, sentence
from mobilesam.files import MALFORMED, MAX_TEXT_BYTES, read_bytes
from mobilesam.onnx import contract, fixed
from mobilesam.onnx.metadata import PREFIX

MANIFEST = "manifest.json"
TITLES = {"litert": "LiteRT", "coreml": "CoreML", "ncnn": "ncnn", "openvino": "OpenVINO"}
PRECISIONS = ("float32", "float16", "int8")  # of the weights
# The graphs that a model needs; the others are there for apps, and for everything mode.
NEEDED = (contract.ENCODER.role, "decoder")
_WITH_WEIGHTS = (".xml", ".param")  # suffixes of files whose weights are in a second one
_METADATA = ("contract", "model", "weights_sha256", "precision")

OpenRun = Callable[[Path, contract.Graph, int | None], Callable[[], fixed.Run]]


class FixedFolder(NamedTuple):
    """What a manifest says.

    points, frame_hw: of :func:`mobilesam.onnx.fixed.graphs`.
    files: the file of each role; one in the format of CoreML is a folder.
    """

    runtime: str
    points: int
    frame_hw: tuple[int, int]
    metadata: dict[str, str]
    files: dict[str, Path]

    def opener(self, open_run: OpenRun) -> Callable[[str, int | None], fixed.FixedSession]:
        """Return a function that opens the file of a role with a number of threads.

        Args:
            open_run: is given a file, its graph, and a number of threads, and returns the ``open_run`` of
                :class:`mobilesam.onnx.fixed.FixedSession`.
        """
        graphs = fixed.graphs(self.points, self.frame_hw)

        def open_role(role: str, threads: int | None) -> fixed.FixedSession:
            about = {f"{PREFIX}{key}": value for key, value in self.metadata.items()} | {f"{PREFIX}role": role}
            run = open_run(self.files[role], graphs[role], threads)
            return fixed.FixedSession(graphs[role], run, about, TITLES[self.runtime])

        return open_role


def runtime_of(folder: Path) -> str | None:
    """Return the runtime of an export of fixed graphs, or None for any other folder."""
    try:
        runtime = json.loads(read_bytes(folder / MANIFEST, MAX_TEXT_BYTES))["runtime"]
    except MALFORMED:
        return None
    return runtime if isinstance(runtime, str) and runtime in TITLES else None


def read(folder: Path, runtime: str) -> FixedFolder:
    """Read the manifest of a folder, and check the files.

    Raises:
        InputError: it is damaged or of another export, or a file is missing or damaged.
    """
    path = folder / MANIFEST
    try:
        about = json.loads(read_bytes(path, MAX_TEXT_BYTES))
        points, (height, width) = about["points"], about["frame_hw"]
        known = about["runtime"] == runtime and str(about["contract"]) == str(contract.VERSION)
        if not known or not all(type(each) is int for each in (points, height, width)):
            raise ValueError("it describes files of another runtime or release")
        if not (1 <= points <= fixed.MOST_POINTS and fixed.is_frame((height, width))):
            raise ValueError(f"{points} points and images of {height}x{width} are impossible")
        files = {str(each["role"]): folder / _checked(folder, each) for each in about["files"]}
        for role in NEEDED:
            if role not in files:
                raise ValueError(f"it has no {role}")
        if unknown := sorted(files.keys() - set(fixed.ROLES)):
            raise ValueError(f"it has a graph named {unknown[0]!r}")
        for key in _METADATA:
            if not isinstance(about[key], str):
                raise ValueError(f"{key} is not a text")
        if about["precision"] not in PRECISIONS:
            raise ValueError(f"its precision is {about['precision']!r}")
    except MALFORMED as error:
        missing = f"it has no {error}" if isinstance(error, KeyError) else ""
        actual = f"{path} ({missing or getattr(error, 'strerror', None) or error})"
        remedy = f"export the model again with: mobilesam export --to {runtime}"
        requirement = f"describe an export to {TITLES[runtime]}"
        raise InputError(sentence("manifest", requirement, actual, remedy)) from error
    return FixedFolder(runtime, points, (height, width), {key: about[key] for key in _METADATA}, files)


def _checked(folder: Path, entry: dict[str, Any]) -> str:
    """Return the file of a role; it, and what else belongs to it, has to be as the manifest says."""
    main = str(entry["file"])
    names = [str(part["file"]) for part in entry["parts"]]
    weights = Path(main).with_suffix(".bin").name
    if Path(main).suffix in _WITH_WEIGHTS and weights not in names:
        raise ValueError(f"it does not name {weights}")
    for part in entry["parts"]:
        name = str(part["file"])
        if Path(name).is_absolute() or ".." in Path(name).parts or Path(name).parts[0] not in (main, name):
            raise ValueError(f"{name!r} is not the name of a file")
        if not (folder / name).is_file():
            raise ValueError(f"the file {name} is missing")
        if part["sha256"] != hashlib.sha256((folder / name).read_bytes()).hexdigest():
            raise ValueError(f"the file {name} is damaged")
    if main not in {Path(str(part["file"])).parts[0] for part in entry["parts"]}:
        raise ValueError(f"the file {main} is missing")
    return main
