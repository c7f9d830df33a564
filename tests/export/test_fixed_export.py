"""Exports of graphs of fixed shapes, as far as their converters are not needed."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam.config import ALL_MASKS, MASK_THRESHOLD
from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.export.compare import Errors
from mobilesam.image.model_input import PIXEL_MEAN, PIXEL_STD
from mobilesam.loading import find_export
from mobilesam.onnx import contract, fixed
from mobilesam.prompts import arrays
from tests.conftest import ROOT

GUIDE = (ROOT / "docs" / "guides" / "mobile.md").read_text()
without_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is not None, reason="LiteRT is installed"
)


EMPTY = hashlib.sha256(b"").hexdigest()


def entry(role: str, name: str, *parts: str, sha256: str = EMPTY) -> dict[str, Any]:
    return {"role": role, "file": name, "parts": [{"file": part, "sha256": sha256} for part in parts or (name,)]}


def folder(path: Path, **changes: Any) -> Path:
    """Write a manifest and empty files."""
    path.mkdir()
    files = [entry(graph.role, f"{graph.role}.tflite") for graph in fixed.PARTS]
    about = {"runtime": "litert", "contract": "1", "model": "vit_t", "weights_sha256": "0", "precision": "float32"}
    content = {**about, "points": 6, "frame_hw": [1024, 1024], "files": files, **changes}
    for file in files:
        (path / file["file"]).touch()
    (path / "manifest.json").write_text(json.dumps(content))
    return path


LABELS = {
    "BACKGROUND": arrays.BACKGROUND,
    "FOREGROUND": arrays.FOREGROUND,
    "BOX_UPPER_LEFT": arrays.BOX_START,
    "BOX_LOWER_RIGHT": arrays.BOX_END,
    "PADDING": arrays.PADDING,
    "ABSENT": arrays.ABSENT,
}


@pytest.mark.parametrize(
    ("language", "vector", "label"),
    [
        ("kotlin", r"val {} = floatArrayOf\((.*)\)", r"const val (\w+) = (-?\d)f"),
        ("swift", r"let {}: \[Float\] = \[(.*)\]", r"let (\w+): Float = (-?\d)"),
    ],
)
def test_the_constants_of_the_guide_are_those_of_the_package(language: str, vector: str, label: str) -> None:
    (listing,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    for name, values in (("mean", PIXEL_MEAN), ("std", PIXEL_STD)):
        numbers = re.search(vector.format(name), listing)
        assert numbers
        assert tuple(float(number.strip().removesuffix("f")) for number in numbers[1].split(",")) == values
    labels = {name.replace("_", "").upper(): float(value) for name, value in re.findall(label, listing)}
    assert labels == {name.replace("_", ""): value for name, value in LABELS.items()}


def test_the_constants_of_the_cpp_example_are_those_of_the_package() -> None:
    source = (ROOT / "docs" / "examples" / "segment.cpp").read_text()
    numbers = {name: float(value) for name, value in re.findall(r"\bk(\w+) = (-?\d+)", source)}
    assert numbers == {
        "Frame": contract.IMAGE_SIZE,
        "Masks": len(ALL_MASKS),
        "Logits": contract.LOGITS_SIZE,
        "Foreground": arrays.FOREGROUND,
        "BoxUpperLeft": arrays.BOX_START,
        "BoxLowerRight": arrays.BOX_END,
        "Padding": arrays.PADDING,
        "Threshold": MASK_THRESHOLD,
    }


def test_the_shapes_of_the_guide_are_those_of_the_graphs() -> None:
    named = re.findall(r"`(\w+)` \(([\d, ]+)\)", GUIDE)
    assert len(named) > 6
    graphs = fixed.graphs(6, (1024, 1024)).values()
    shapes = {value.name: value.shape for graph in graphs for value in (*graph.inputs, *graph.outputs)}
    for name, shape in named:
        assert ", ".join(map(str, shapes[name])) == shape


@without_litert
def test_without_the_runtime_the_command_to_install_is_named(tmp_path: Path, command: Any) -> None:
    with pytest.raises(MissingDependencyError, match=r'run: pip install "ai-edge-litert>=[\d.]+"$'):
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
        ({"contract": "9"}, "it describes files of another runtime or release"),
        ({"points": 0}, "0 points and images of 1024x1024 are impossible"),
        ({"points": True}, "it describes files of another runtime or release"),
        ({"points": 10**9}, "1000000000 points and images of 1024x1024 are impossible"),
        ({"frame_hw": [1024, 10**9]}, "6 points and images of 1024x1000000000 are impossible"),
        ({"frame_hw": [1024, 1000]}, "6 points and images of 1024x1000 are impossible"),
        ({"frame_hw": [1024]}, "not enough values"),
        ({"precision": "int4"}, "its precision is 'int4'"),
        ({"files": [entry("encoder", "../encoder.tflite")]}, "is not the name of a file"),
        ({"files": [entry("encoder", "encoder.tflite", "/etc/hostname")]}, "is not the name of a file"),
        ({"files": [entry("encoder", "encoder.tflite", "image.tflite", "a/../../b")]}, "is not the name of a file"),
        ({"files": [entry("encoder", "other.tflite")]}, "the file other.tflite is missing"),
        ({"files": [entry("encoder", "encoder.tflite", "image.tflite")]}, "the file encoder.tflite is missing"),
        ({"files": [entry("encoder", "encoder.tflite", sha256="0")]}, "the file encoder.tflite is damaged"),
        ({"files": [entry("encoder", "encoder.tflite")]}, "it has no decoder"),
        (
            {"files": [entry(role, "encoder.tflite") for role in ("encoder", "decoder", "tracker")]},
            "it has a graph named 'tracker'",
        ),
        ({"weights_sha256": 3}, "weights_sha256 is not a text"),
        ({"files": 7}, "object is not iterable"),
    ],
)
def test_manifests_of_other_files_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match="manifest must describe an export to LiteRT") as error:
        mobilesam.load(folder(tmp_path / "phone", **changes))
    assert message in str(error.value)


def test_the_manifest_says_which_of_the_files_are_opened(tmp_path: Path) -> None:
    path = folder(tmp_path / "phone")
    (path / "encoder.onnx").touch()
    (path / "encoder.param").touch()
    assert {file.suffix for file in find_export(path)} == {".tflite"}
    for runtime, suffix in (("ncnn", ".param"), ("tensorrt", ".onnx"), (["ncnn"], ".onnx")):
        (path / "manifest.json").write_text(json.dumps({"runtime": runtime}))
        assert {file.suffix for file in find_export(path)} == {suffix}
    (path / "manifest.json").write_bytes(b"\xff{")
    assert {file.suffix for file in find_export(path)} == {".onnx"}


def test_files_without_a_manifest_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "phone")
    (path / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"manifest must describe an export to LiteRT, got .*No such file"):
        mobilesam.load(path)
    (path / "manifest.json").write_bytes(b"\xff{")
    with pytest.raises(InputError, match="manifest must describe an export to LiteRT"):
        mobilesam.load(path / "encoder.tflite")


def test_what_coreml_wrote_is_not_run(tmp_path: Path, command: Any) -> None:
    path = folder(tmp_path / "phone", runtime="coreml", files=[])
    (path / "encoder.mlpackage").mkdir()
    with pytest.raises(InputError, match="model must be one that this package runs, got an export to CoreML"):
        mobilesam.load(path)
    done = command("verify", str(path))
    assert done.code == 1
    assert "model must be one that this package runs, got an export to CoreML" in done.err


@pytest.mark.torch
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--to", "tensorrt"], 1, "--to must be one of onnx, litert, openvino, ncnn, coreml, got 'tensorrt'"),
        (["--to", "litert", "--precision", "int4"], 1, "precision for LiteRT must be one of float32, float16, int8"),
        (["--to", "litert", "--points", "65"], 1, "points must be a whole number from 1 to 64, got 65"),
        (["--to", "litert", "--image-size", "512x512"], 1, "image size must have a longer side of 1024"),
        (["--to", "litert", "--image-size", "700x1024"], 1, "a shorter one that is a multiple of 16, got 700x1024"),
        (["--to", "litert", "--image-size", "big"], 2, "--image-size must be HEIGHTxWIDTH, got 'big'"),
        (["--points", "3"], 2, "--points must be used with --to litert, coreml, ncnn or openvino, got --to onnx"),
        (["--to", "litert", "--preprocess", "uint8"], 2, "--preprocess must be used with --to onnx, got --to litert"),
        (["--to", "ncnn", "--for", "rembg"], 2, "--for must be used with --to onnx, got --to ncnn; leave it out"),
    ],
)
def test_options_that_cannot_be_used(tmp_path: Path, command: Any, options: list[str], code: int, message: str) -> None:
    done = command("export", "--out", str(tmp_path / "out"), *options)
    assert (done.code, done.out) == (code, "")
    assert message in " ".join(done.err.split())
    assert not (tmp_path / "out").exists()


def test_an_error_that_is_not_a_number_fails_every_limit() -> None:
    errors = Errors({"masks": 1.0, "free": None})
    for case, error in (("first", 0.5), ("second", float("nan")), ("third", 0.25)):
        errors.add("masks", error, case)
    row = errors.rows["masks"]
    assert (row.error, row.case, row.cases, row.passed) == (float("inf"), "second", 3, False)


def test_comparing_needs_no_converter(tmp_path: Path, command: Any) -> None:
    done = command("verify", str(folder(tmp_path / "phone")))
    assert done.code == 1
    assert "PyTorch" not in done.err
    assert "torch" not in done.err
    if not importlib.util.find_spec("ai_edge_litert"):
        assert re.search(r'pip install "ai-edge-litert>=[\d.]+"$', done.err.strip())


@pytest.mark.torch
def test_a_chooser_of_other_weights_is_left_out(sam: Any, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    import torch

    from mobilesam.export import fixed_export

    other = copy.deepcopy(sam)
    with torch.no_grad():
        other.mask_decoder.iou_token.weight.mul_(1.01)
    fixed_export.export_fixed(other, tmp_path / "other", fixed_export.FixedPlan(runtime="openvino", points=1))
    about = json.loads((tmp_path / "other" / "manifest.json").read_text())
    assert "chooser" not in [each["role"] for each in about["files"]]
    with np.load(tmp_path / "other" / "golden.npz") as golden:
        assert "click_confidences" not in golden


@pytest.mark.torch
def test_biases_of_windows_are_those_of_the_network() -> None:
    import torch

    from mobilesam.export.fixed_modules import FixedAttention
    from mobilesam.modeling.tiny_vit_sam import Attention

    attention = Attention(24, num_heads=3, window=5)
    torch.nn.init.normal_(attention.attention_biases)
    assert torch.equal(FixedAttention(attention).bias(), attention.bias())


@pytest.mark.torch
def test_the_chooser_as_a_module_computes_what_its_graph_does() -> None:
    import torch

    from mobilesam.export.chooser_graph import make_chooser
    from mobilesam.export.onnx_module import OnnxModule
    from mobilesam.masks.choosers import PUBLISHED
    from mobilesam.onnx.sessions import open_session

    model, _ = make_chooser(PUBLISHED.point, "")
    session = open_session(model.SerializeToString(), "cpu")
    module = OnnxModule(model.graph, ["confidences"])
    random, places = np.random.default_rng(1), np.arange(256, dtype=np.float32)
    for size in ((300, 400), (1000, 333), (700, 700)):
        distance = np.hypot(places[None] - 120, places[:, None] - 90)
        logits = ((random.uniform(2, 60, 4)[:, None, None] - distance) / 2).astype(np.float32)[None]
        feeds = {
            "low_res_masks": logits,
            "iou_predictions": random.uniform(0.3, 1, (1, 4)).astype(np.float32),
            "point_coords": np.array([[[481, 361], [0, 0]]], np.float32),
            "orig_im_size": np.array(size, np.float32),
        }
        (computed,) = module(*map(torch.from_numpy, feeds.values()))
        (expected,) = session.run(["confidences"], feeds)
        assert np.abs(computed.numpy() - expected).max() < 1e-5
