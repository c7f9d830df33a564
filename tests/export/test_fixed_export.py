"""Exports for phones, as far as no runtime of phones is needed."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

import mobilesam
from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.image.model_input import PIXEL_MEAN, PIXEL_STD
from mobilesam.onnx import fixed
from mobilesam.prompts import arrays
from tests.conftest import ROOT

GUIDE = (ROOT / "docs" / "guides" / "mobile.md").read_text()
without_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is not None, reason="LiteRT is installed"
)


def folder(path: Path, **changes: Any) -> Path:
    """Write a manifest and empty files."""
    path.mkdir()
    files = [{"role": graph.role, "file": f"{graph.role}.tflite"} for graph in fixed.PARTS]
    about = {"runtime": "litert", "contract": "1", "model": "vit_t", "weights_sha256": "0", "precision": "float32"}
    content = {**about, "points": 6, "frame_hw": [1024, 1024], "files": files, **changes}
    for file in files:
        (path / file["file"]).touch()
    (path / "manifest.json").write_text(json.dumps(content))
    return path


def test_the_constants_of_the_guide_are_those_of_the_package() -> None:
    (listing,) = re.findall(r"```kotlin\n(.*?)```", GUIDE, re.DOTALL)
    for name, values in (("mean", PIXEL_MEAN), ("std", PIXEL_STD)):
        numbers = re.search(rf"val {name} = floatArrayOf\((.*)\)", listing)
        assert numbers
        assert tuple(float(number.strip().removesuffix("f")) for number in numbers[1].split(",")) == values
    labels = {name: float(value) for name, value in re.findall(r"const val (\w+) = (-?\d)f", listing)}
    assert labels == {
        "BACKGROUND": arrays.BACKGROUND,
        "FOREGROUND": arrays.FOREGROUND,
        "BOX_UPPER_LEFT": arrays.BOX_START,
        "BOX_LOWER_RIGHT": arrays.BOX_END,
        "PADDING": arrays.PADDING,
        "ABSENT": arrays.ABSENT,
    }
    for graph in fixed.graphs(6, (1024, 1024)).values():
        for value in (*graph.inputs, *graph.outputs):
            if f"| `{graph.role}.tflite` |" in GUIDE and f"`{value.name}` (" in GUIDE:
                assert f"`{value.name}` ({', '.join(map(str, value.shape))})" in GUIDE


@without_litert
def test_without_the_runtime_the_command_to_install_is_named(tmp_path: Path, command: Any) -> None:
    with pytest.raises(MissingDependencyError, match=r'pip install .*"ai-edge-litert>='):
        mobilesam.load(folder(tmp_path / "phone"))
    if importlib.util.find_spec("torch"):
        done = command("export", "--to", "litert", "--out", str(tmp_path / "out"))
        assert done.code == 1
        assert "pip install" in done.err
        assert "litert-torch" in done.err
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runtime": "ncnn"}, "it describes other files"),
        ({"contract": "9"}, "it describes other files"),
        ({"points": 0}, "it describes other files"),
        ({"frame_hw": [1024]}, "not enough values"),
        ({"precision": "int4"}, "its precision is 'int4'"),
        ({"files": [{"role": "encoder", "file": "../encoder.tflite"}]}, "is not the name of a file"),
        ({"files": [{"role": "encoder", "file": "other.tflite"}]}, "the file other.tflite is missing"),
        ({"files": [{"role": "encoder", "file": "encoder.tflite"}]}, "it has no image"),
        ({"weights_sha256": 3}, "weights_sha256 is not a text"),
        ({"files": 7}, "object is not iterable"),
    ],
)
def test_manifests_of_other_files_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match="manifest must describe an export to LiteRT") as error:
        mobilesam.load(folder(tmp_path / "phone", **changes))
    assert message in str(error.value)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "phone")
    (path / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"manifest must describe an export to LiteRT, got .*No such file"):
        mobilesam.load(path)
    (path / "manifest.json").write_bytes(b"\xff{")
    with pytest.raises(InputError, match="manifest must describe an export to LiteRT"):
        mobilesam.load(path)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--to", "ncnn"], 1, "runtime must be one of litert, got 'ncnn'"),
        (["--to", "litert", "--precision", "int4"], 1, "precision must be one of float32, float16, int8"),
        (["--to", "litert", "--points", "65"], 1, "points must be a whole number from 1 to 64, got 65"),
        (["--to", "litert", "--image-size", "512x512"], 1, "image size must have a longer side of 1024"),
        (["--to", "litert", "--image-size", "700x1024"], 1, "a shorter one that is a multiple of 16, got 700x1024"),
        (["--to", "litert", "--image-size", "big"], 2, "--image-size must be HEIGHTxWIDTH, got 'big'"),
        (["--points", "3"], 2, "--points must be used with --to litert"),
    ],
)
def test_options_that_cannot_be_used(tmp_path: Path, command: Any, options: list[str], code: int, message: str) -> None:
    done = command("export", "--out", str(tmp_path / "out"), *options)
    assert (done.code, done.out) == (code, "")
    assert message in " ".join(done.err.split())
    assert not (tmp_path / "out").exists()
