"""Quantized files: how small they are, what they still compute, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from PIL import Image

from mobilesam import SamPredictor
from mobilesam.errors import ExportError
from mobilesam.export import calibration, quantize, recipes
from mobilesam.export.recipes import Recipe
from mobilesam.onnx import OnnxSam, recognition
from tests.evaluate.scenes import compressed, write_coco
from tests.photos import photo

pytestmark = [pytest.mark.torch, pytest.mark.weights]


@pytest.fixture(autouse=True)
def timed_and_sampled_once(monkeypatch):
    monkeypatch.setattr(quantize, "_TURNS", 1)
    monkeypatch.setattr(calibration, "_SAMPLES", 1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name in ("rocket", "astronaut"):
        Image.fromarray(photo(name)).save(folder / f"{name}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    return folder


@pytest.fixture(scope="module")
def source(exported, tmp_path_factory):
    """The encoder and the split decoder."""
    folder = tmp_path_factory.mktemp("float32")
    for name in ("encoder.onnx", "image.onnx", "score.onnx", "upscale.onnx"):
        shutil.copy(exported / name, folder)
    return folder


def box_mask(model):
    predictor = SamPredictor(model)
    predictor.set_image(photo("chelsea"))
    return predictor.predict(box=[40, 10, 420, 290], multimask_output=False).masks[0]


@pytest.mark.parametrize(
    ("recipe", "least_iou", "most_bytes"),
    [(Recipe.weights, 0.985, 6.6e6), (Recipe.dynamic, 0.97, 6.6e6), (Recipe.half, 0.99, 12.5e6)],
)
def test_a_recipe_makes_a_small_model_of_the_same_masks(source, tmp_path, recipe, least_iou, most_bytes):
    files = {file.role: file for file in quantize.quantize(source, tmp_path / "out", recipe)}
    assert files["encoder"].quantized_size == (tmp_path / "out" / "encoder.onnx").stat().st_size <= most_bytes
    model, original = OnnxSam.from_files(tmp_path / "out"), OnnxSam.from_files(source)
    assert model.weights_id != original.weights_id, "embeddings of the two must not be mixed up"
    mask, wanted = box_mask(model), box_mask(original)
    assert (mask & wanted).sum() / (mask | wanted).sum() > least_iou
    entries = json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]
    assert {entry["precision"] for entry in entries} == {recipes.PRECISION[recipe]}
    assert bool(files["encoder"].in_int8) == (recipe is Recipe.dynamic)


@pytest.mark.slow
def test_static_leaves_in_float_what_loses_most(source, photos, tmp_path, command):
    out = tmp_path / "out"
    result = command("quantize", source, "--out", out, "--recipe", "static", "--calibrate", photos, "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert report == json.loads((out / "quantization.json").read_text())
    encoder = next(file for file in report["files"] if file["role"] == "encoder")
    assert encoder["quantized_size"] < 7e6
    assert encoder["in_int8"]["Conv"] >= 8
    assert encoder["in_int8"]["MatMul"] >= 8
    assert encoder["left_in_float"]
    assert all(before > 0 and after > 0 for before, after in report["seconds"].values())
    mask, wanted = box_mask(OnnxSam.from_files(out)), box_mask(OnnxSam.from_files(source))
    assert (mask & wanted).sum() / (mask | wanted).sum() > 0.95


def test_static_is_the_same_each_time(source, photos):
    parts = recognition.whole_model(recognition.files_of(source))
    made = []
    for _ in range(2):
        images = calibration.read_images(photos)  # the broken one is left out
        assert [image.shape for image in images] == [photo(name).shape for name in ("astronaut", "rocket")]
        feeds = calibration.feeds_of(parts, images)["image"]
        assert len(feeds) == 10
        made.append(calibration.static(parts["image"][1], feeds)[0].SerializeToString(deterministic=True))
    assert made[0] == made[1]


@pytest.fixture
def own_masks(source, tmp_path):
    """Ground truth on which the float32 model is perfect: its own mask for a box."""
    box = [40, 10, 420, 290]
    truth = {"image_id": "cat.png", "segmentation": compressed(box_mask(OnnxSam.from_files(source)))}
    truth["bbox"] = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    return write_coco(tmp_path / "truth", {"cat.png": photo("chelsea")}, [truth])


def test_accuracy_is_measured_and_a_drop_can_fail(source, tmp_path, command, own_masks):
    options = ("--eval", own_masks, "--images", own_masks.parent, "--max-drop")
    result = command("quantize", source, "--out", tmp_path / "out", *options, 0.05)
    assert result.code == 0, result.err
    report = json.loads((tmp_path / "out" / "quantization.json").read_text())
    box = report["accuracy"]["box"]
    assert box["float32"] == 1
    assert 0.95 < box["quantized"] < 1
    assert box["drop"] == pytest.approx(1 - box["quantized"])
    assert box["agreement"] == pytest.approx(box["quantized"], abs=1e-5)  # the truth is the float32 model's mask
    assert f"drop +{box['drop']:.4f}" in result.out

    result = command("quantize", source, "--out", tmp_path / "strict", *options, 0)
    assert result.code == 1
    assert "error: Mean IoU drops by 0.0" in result.err
    assert ", more than --max-drop 0. Use another recipe, or other images for the calibration." in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{missing}"], 1, "model must be the folder of an export, got"),
        (["{empty}"], 1, "ONNX model must have an encoder and a decoder, got no ONNX file"),
        (["{source}", "--recipe", "static"], 1, "calibrate must be given for the recipe static, got none; give"),
        (
            ["{source}", "--recipe", "static", "--calibrate", "{empty}"],
            1,
            "calibrate must contain readable images, got",
        ),
        (
            ["{source}", "--recipe", "static", "--calibrate", "{missing}"],
            1,
            "calibrate must be a folder of images, got",
        ),
        (["{source}", "--max-drop", "0.01"], 2, "--max-drop must be used with --eval, got none"),
        (["{source}", "--recipe", "int4"], 2, "int4"),
    ],
)
def test_what_is_refused(source, tmp_path, command, arguments, code, message):
    (tmp_path / "empty").mkdir()
    places = {"source": source, "empty": tmp_path / "empty", "missing": tmp_path / "missing"}
    result = command("quantize", *(text.format(**places) for text in arguments), "--out", tmp_path / "out")
    assert result.code == code
    assert message in result.err
    assert not (tmp_path / "out").exists()


def test_nothing_is_quantized_twice_or_overwritten(source, tmp_path, command):
    out = tmp_path / "out"
    quantize.quantize(source, out)
    with pytest.raises(ExportError, match=r"model must be float32 to be quantized, got encoder.onnx with 8-bit"):
        quantize.quantize(out, tmp_path / "twice")
    assert not (tmp_path / "twice").exists()
    before = (out / "encoder.onnx").stat().st_mtime_ns
    result = command("quantize", source, "--out", out)
    assert result.code == 1
    assert "output file must not exist yet, got" in result.err
    assert (out / "encoder.onnx").stat().st_mtime_ns == before


def test_channels_keep_their_own_scale():
    generator = np.random.default_rng(0)
    values = (generator.standard_normal((64, 96)) * np.logspace(-3, 3, 64)[:, None]).astype(np.float32)
    integers, scale = recipes._per_channel(values, (0, 1))
    assert integers.dtype == np.int8
    assert scale.shape == (64, 1)
    assert (np.abs(integers * scale - values) <= scale / 2 * 1.0001).all()


def test_scales_of_matrix_products_are_those_of_their_outputs():
    """Also where the inputs would lose less, because OpenVINO multiplies wrong by a Gemm with scales of its inputs."""
    generator = np.random.default_rng(0)
    weight = (generator.standard_normal((96, 64)) * np.logspace(-3, 3, 96)[:, None]).astype(np.float32)
    nodes = """
        product = MatMul (x, plain)
        y = Gemm <transB = 1> (product, turned, bias)
        z = Gemm (product, square, bias)
    """
    graph = onnx.parser.parse_graph(f"agraph (float[1, 96] x) => (float[1, 64] y, float[1, 64] z) {{ {nodes} }}")
    square = np.ascontiguousarray(weight[:64])
    constants = {
        "plain": weight,
        "turned": np.ascontiguousarray(square.T),
        "square": square,
        "bias": np.zeros(64, "f4"),
    }
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    stored = recipes.store_weights(onnx.helper.make_model(graph))
    shapes = {tensor.name: tuple(tensor.dims) for tensor in stored.graph.initializer}
    assert shapes["plain.scale"] == shapes["square.scale"] == (1, 64)
    assert shapes["turned.scale"] == (64, 1)
