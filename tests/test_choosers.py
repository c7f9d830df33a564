"""The choosers of a checkpoint: used by every backend, left out for other weights, and refused if they are damaged."""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam import weights
from mobilesam.batch import ModelChoice
from mobilesam.embedding import with_embeddings
from mobilesam.errors import InputError, WeightsError
from mobilesam.learned import LearnedArrays
from mobilesam.masks import box_chooser, chooser, choosers
from mobilesam.masks.choosers import PUBLISHED, Choosers
from mobilesam.onnx import OnnxSam, contract, templates
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import segment_objects
from mobilesam.weights import checkpoint
from tests.photos import photo
from tests.shared_models import encode_once
from tests.tuned_model import POINT, PROMPTS, changed, own_choosers, write_tuned

pytestmark = pytest.mark.weights
BACKENDS = [pytest.param("torch", marks=pytest.mark.torch), "onnx", "openvino", "folder"]


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """Keep the ONNX files of checkpoints that only these tests have out of the folder of weights."""
    published = weights.ensure()
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        shutil.copy(published, folder)
        patch.setenv("MOBILESAM_HOME", str(folder))
        yield


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Path:
    return write_tuned(tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="module")
def folder(tuned: Path, tmp_path_factory) -> Path:
    """The graphs of the checkpoint, without choosers."""
    out = tmp_path_factory.mktemp("folder")
    for graph, bound in zip(contract.GRAPHS, templates.bound_files(tuned), strict=True):
        (out / graph.file_name).write_bytes(bound if isinstance(bound, bytes) else bound.read_bytes())
    return out


def predicted(model: Any) -> list[mobilesam.Prediction]:
    predictor = mobilesam.SamPredictor(model)
    predictor.set_image(photo("coffee"))
    return [predictor.predict_one(**prompt) for prompt in PROMPTS]


@pytest.fixture(scope="module")
def onnx_tuned(tuned: Path) -> OnnxSam:
    """The checkpoint on ONNX Runtime; it encodes an image once."""
    return encode_once(mobilesam.load(tuned, "onnx"))


@pytest.fixture(scope="module")
def expected(onnx_tuned: OnnxSam) -> list[mobilesam.Prediction]:
    return predicted(onnx_tuned)


def test_the_numbers_of_features() -> None:
    for module in (chooser, box_chooser):
        assert len(module.FILE.arrays["mean"]) == module.FEATURES


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_chooses_the_same(backend: str, tuned: Path, folder: Path, expected, tmp_path: Path) -> None:
    source: Path = tuned
    if backend == "openvino":
        pytest.importorskip("openvino")
    if backend == "folder":
        source, backend = Path(shutil.copytree(folder, tmp_path / "folder")), "onnx"
        shutil.copy(choosers.file_of(tuned), source / "choosers.npz")
    model = mobilesam.load(source, backend)
    assert all(isinstance(each, LearnedArrays) for each in model.choosers)
    for wrapped in (model.worker, with_embeddings(model, tmp_path), copy.copy(model)):
        assert wrapped.choosers is model.choosers
        assert wrapped.source_weights_id == model.source_weights_id
    for ours, theirs in zip(predicted(model), expected, strict=True):
        assert ours.confidence == pytest.approx(theirs.confidence, abs=2e-3)
        assert np.mean(ours.masks != theirs.masks) < 1e-4


def test_they_are_those_of_the_file(tuned: Path, onnx_tuned: OnnxSam, expected) -> None:
    read = choosers.read(choosers.file_of(tuned))
    published = copy.copy(onnx_tuned)
    published.choosers = Choosers(*(LearnedArrays({**each.arrays, "weights_ids": read.box.arrays["weights_ids"]})
                                    for each in PUBLISHED))  # fmt: skip
    for ours, theirs in zip(expected, predicted(published), strict=True):
        assert ours.confidence != pytest.approx(theirs.confidence, abs=1e-3)
    known = checkpoint.read(tuned).weights_id
    for each, again in zip(own_choosers(known), read, strict=True):
        assert again.knows(known)
        assert not again.knows(known[:9])
        for name, array in each.arrays.items():
            np.testing.assert_array_equal(again.arrays[name], array)
    assert choosers.content_of(read, known) == choosers.file_of(tuned).read_bytes()
    assert choosers.content_of(read, "other") is choosers.content_of(PUBLISHED, onnx_tuned.source_weights_id) is None


@pytest.mark.torch
def test_a_network_of_the_registry_has_them_until_it_is_trained(tuned: Path) -> None:
    import torch

    predictor = mobilesam.SamPredictor(mobilesam.sam_model_registry["vit_t"](checkpoint=tuned))
    model = predictor.mask_model
    assert model.choosers == predictor.model.choosers != PUBLISHED
    assert all(each.knows(model.source_weights_id) for each in model.choosers)
    with torch.no_grad():
        predictor.model.mask_decoder.iou_token.weight += 0.5
    assert not any(each.knows(model.source_weights_id) for each in model.choosers)


def falls_back(model: Any, prompt: int) -> bool:
    """Return whether the mask is that of a model without a chooser for a prompt, 0 for the click, 1 for the box."""
    predictor = mobilesam.SamPredictor(model)
    predictor.set_image(photo("coffee"))
    one = predictor.predict_one(**PROMPTS[prompt])
    other = predictor.predict_one(**PROMPTS[prompt], select=("agreement", "single")[prompt])
    return one.confidence is None and bool((one.masks == other.masks).all())


def test_a_checkpoint_without_the_file_falls_back(tmp_path: Path, tuned: Path, onnx_tuned: OnnxSam) -> None:
    path = Path(shutil.copy(tuned, tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mobilesam.load(path, "onnx").choosers is PUBLISHED
    model = copy.copy(onnx_tuned)
    model.choosers = PUBLISHED
    assert falls_back(model, 0)
    assert falls_back(model, 1)
    with pytest.raises(InputError, match=r"select must be one of .* got 'learned'; the chooser was learned on other"):
        segment_objects(model, model.encode(photo("coffee")), [ObjectPrompt((POINT,), (1,))], select="learned")


@pytest.mark.parametrize("part", [0, 1])
def test_one_of_them_may_be_absent(tmp_path: Path, tuned: Path, onnx_tuned: OnnxSam, part: int) -> None:
    path, own = Path(shutil.copy(tuned, tmp_path)), choosers.read(choosers.file_of(tuned))
    choosers.write(choosers.file_of(path), Choosers(own.point) if part == 0 else Choosers(box=own.box))
    model = copy.copy(onnx_tuned)
    model.choosers = mobilesam.load(path, "onnx").choosers
    assert [falls_back(model, prompt) for prompt in (0, 1)] == [part == 1, part == 0]


@pytest.mark.parametrize("backend", [pytest.param("torch", marks=pytest.mark.torch), "onnx"])
def test_those_of_other_weights_are_not_used(tmp_path: Path, tuned: Path, backend: str) -> None:
    path = Path(shutil.copy(tuned, tmp_path))
    choosers.write(choosers.file_of(path), own_choosers("0" * 64))
    with pytest.warns(UserWarning, match=r"tuned\.choosers\.npz was learned on other weights than") as caught:
        model = mobilesam.load(path, backend)
    assert len(caught) == 1
    assert model.choosers is PUBLISHED
    copied = Path(shutil.copy(weights.ensure(), tmp_path / "copy.safetensors"))
    choosers.write(tmp_path / "copy.choosers.npz", Choosers(changed(PUBLISHED.point, "0" * 64)))
    with pytest.warns(UserWarning, match=r"copy\.choosers\.npz was learned on other weights"):
        model = mobilesam.load(copied, backend)
    assert model.choosers is PUBLISHED
    assert model.choosers.point.knows(model.source_weights_id), "published weights keep their own"


def packed(change: Callable[[dict[str, Any]], object], path: Path) -> bytes:
    with np.load(path) as archive:
        arrays = dict(archive)
    change(arrays)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("point_mean.npy", bytes(2**26))
    return buffer.getvalue()


def nan(arrays: dict[str, Any]) -> None:
    arrays["box_output_bias"][2] = np.nan


DAMAGES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda path: b"", "File is not a zip file"),
    "truncated": (lambda path: path.read_bytes()[:-3000], "File is not a zip file"),
    "a page": (lambda path: b"<!doctype html>", "File is not a zip file"),
    "changed": (lambda path: path.read_bytes().replace(b"format.npy", b"Format.npy"), "."),
    "bomb": (lambda path: bomb(), "it unpacks to 67 MB"),
    "large": (lambda path: bytes(2**23 + 1), "8,388,609 bytes, more than the 8,388,608 bytes that are read"),
    "pickle": (
        lambda path: packed(lambda a: a.update(point_mean=np.array([a, None], object)), path),
        "Object arrays cannot be loaded when allow_pickle=False",
    ),
    "form": (
        lambda path: packed(lambda a: a.update(format=np.array("mobilesam-choosers-9")), path),
        "its format is mobilesam-choosers-9, not mobilesam-choosers-1",
    ),
    "no form": (lambda path: packed(lambda a: a.pop("format"), path), "its format is missing"),
    "no ids": (lambda path: packed(lambda a: a.pop("weights_ids"), path), "the array weights_ids is missing"),
    "one id": (
        lambda path: packed(lambda a: a.update(weights_ids=np.array("a" * 64)), path),
        r"weights_ids has type <U64 and shape \(\) instead of a list of texts",
    ),
    "missing": (lambda path: packed(lambda a: a.pop("box_scale"), path), "the array box_scale is missing"),
    "no chooser": (
        lambda path: packed(lambda a: [a.pop(name) for name in list(a) if "_" in name and name != "weights_ids"], path),
        "it contains no chooser",
    ),
    "NaN": (lambda path: packed(nan, path), "box_output_bias has NaN or infinite values"),
    "overflow": (
        lambda path: packed(lambda a: a.update(point_mean=np.full(104, 1e300)), path),
        "point_mean has NaN or infinite values",
    ),
    "shape": (
        lambda path: packed(lambda a: a.update(point_mean=a["point_mean"][:-1]), path),
        r"point_mean has type float32 and shape \(103,\) instead of floating-point numbers of shape \(104,\)",
    ),
    "width": (
        lambda path: packed(lambda a: a.update(point_hidden_bias=np.zeros(4096, np.float32)), path),
        "point_hidden_bias has 4096 values instead of 1 to 1024",
    ),
    "inconsistent": (
        lambda path: packed(lambda a: a.update(point_hidden_bias=np.zeros(80, np.float32)), path),
        r"point_hidden_weight has type float32 and shape \(104, 84\) instead of .* \(104, 80\)",
    ),
    "integers": (
        lambda path: packed(lambda a: a.update(point_scale=np.ones(104, int)), path),
        "point_scale has type int64 and shape",
    ),
    "scale": (
        lambda path: packed(lambda a: a.update(box_scale=a["box_scale"] * 0), path),
        "box_scale has values that are not positive",
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file(tmp_path: Path, tuned: Path, kind: str) -> None:
    make, reason = DAMAGES[kind]
    path = tmp_path / "tuned.choosers.npz"
    path.write_bytes(make(choosers.file_of(tuned)))
    pattern = (
        rf"^The choosers file .*tuned\.choosers\.npz cannot be used: {reason}.* Run mobilesam finetune again, or del"
    )
    with pytest.raises(WeightsError, match=pattern):
        choosers.read(path)


@pytest.mark.parametrize(
    ("kind", "reason"), [("directory", "Is a directory"), ("pipe", "a pipe, not a regular file"), ("NaN", "box_output")]
)
def test_a_model_with_a_damaged_file(tmp_path: Path, tuned: Path, command, kind: str, reason: str) -> None:
    model = Path(shutil.copy(tuned, tmp_path))
    path = tmp_path / "tuned.choosers.npz"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(packed(nan, choosers.file_of(tuned)))
    with pytest.raises(WeightsError, match=f"cannot be used: {reason}"):
        mobilesam.load(model, "onnx")
    with pytest.raises(WeightsError, match=f"cannot be used: {reason}"):
        ModelChoice(str(model)).digest()
    outcome = command("weights", "convert", model, tmp_path / "other.safetensors")
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: The choosers file {path} cannot be used: {reason}")
    assert not (tmp_path / "other.safetensors").exists()


def test_only_complete_choosers_are_written(tmp_path: Path, tuned: Path) -> None:
    path, own = tmp_path / "a.choosers.npz", choosers.read(choosers.file_of(tuned))
    wrong = LearnedArrays({name: array for name, array in own.point.arrays.items() if name != "mean"})
    with pytest.raises(InputError, match="choosers must have the arrays of a chooser, got others: the array point_me"):
        choosers.write(path, Choosers(wrong, own.box))
    with pytest.raises(InputError, match="got others: weights_ids has type"):
        choosers.write(path, Choosers(changed(PUBLISHED.point, "a"), changed(PUBLISHED.box, "b")))
    with pytest.raises(InputError, match="got others: "):
        choosers.write(path, PUBLISHED)
    assert not list(tmp_path.iterdir())
    choosers.write(path, own)
    before = path.read_bytes()
    with pytest.raises(InputError, match="output file must not exist yet"):
        choosers.write(path, Choosers(own.point), force=False)
    assert path.read_bytes() == before


def test_conversion_copies_them(command, tuned: Path, tmp_path: Path) -> None:
    target = tmp_path / "other.safetensors"
    beside = tmp_path / "other.choosers.npz"
    assert command("weights", "convert", tuned, target) == (0, f"{target}\n{beside}\n", "")
    assert beside.read_bytes() == choosers.file_of(tuned).read_bytes()
    target.unlink()
    outcome = command("weights", "convert", tuned, target)
    assert (outcome.code, target.exists()) == (1, False)
    assert f"must not exist yet, got {beside}" in outcome.err
    assert command("weights", "convert", weights.ensure(), tmp_path / "published.safetensors").code == 0
    assert not (tmp_path / "published.choosers.npz").exists()


def test_a_batch_is_not_resumed_with_others(tuned: Path, folder: Path, tmp_path: Path) -> None:
    path, export = Path(shutil.copy(tuned, tmp_path)), Path(shutil.copytree(folder, tmp_path / "folder"))
    content = choosers.file_of(tuned).read_bytes()
    for model in (path, export):
        digests = [ModelChoice(str(model)).digest()]
        choosers.file_of(model).write_bytes(content)
        digests.append(ModelChoice(str(model)).digest())
        choosers.write(choosers.file_of(model), Choosers(choosers.read(choosers.file_of(model)).point))
        digests.append(ModelChoice(str(model)).digest())
        assert len(set(digests)) == 3


def test_published_weights_open_no_such_file(tmp_path: Path) -> None:
    """Neither with the choosers nor with the checkpoint that their digest would need, which ONNX files replace."""
    code = """
import json, sys
opened = []
sys.addaudithook(lambda event, values: opened.append(str(values[0])) if event == "open" else None)
import numpy as np, mobilesam
predictor = mobilesam.SamPredictor(mobilesam.load(backend="onnx"))
predictor.set_image(np.zeros((90, 120, 3), np.uint8))
assert predictor.predict_one([[60, 40]], [1]).confidence is not None
print(json.dumps([path for path in opened if path.endswith(("choosers.npz", "chooser.npz"))]))
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [Path(path).name for path in json.loads(finished.stdout)] == ["chooser.npz"]
