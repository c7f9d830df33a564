"""What the tests of runtimes share: exports by the command line, and comparisons with PyTorch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from tests.photos import photo

BOX = [75, 10, 482, 395]  # of the cup and its saucer in the photo of coffee
POINTS = np.array([[210, 140], [300, 200], [250, 300], [400, 200], [150, 250], [90, 90]])
LABELS = np.array([1, 1, 1, 1, 0, 0])


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mobilesam", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)


def export(runtime: str, out: Path, *more: str) -> Path:
    done = run("export", "--to", runtime, "--out", out, *more)
    assert done.returncode == 0, done.stderr
    return out


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def megabytes(folder: Path) -> float:
    """Return the size of the encoder and the decoder."""
    return sum(each["size"] for each in manifest(folder)["files"] if each["role"] in ("encoder", "decoder")) / 1e6


def assert_described(folder: Path, points: int = 6) -> None:
    """Assert that the manifest has the digest of each file, and says what an app has to know."""
    about = manifest(folder)
    for each in about["files"]:
        for part in each["parts"]:
            content = (folder / part["file"]).read_bytes()
            assert (part["size"], part["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert each["operators"]
        assert each["size"] == sum(part["size"] for part in each["parts"])
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    named = {part["file"] for each in about["files"] for part in each["parts"]}
    assert written == {*named, "golden.npz", "manifest.json"}
    decoder = next(each for each in about["files"] if each["role"] == "decoder")
    assert {value["name"]: value["shape"] for value in decoder["inputs"]}["point_coords"] == [1, points + 2, 2]
    assert about["preprocessing"]["mean"] == [123.675, 116.28, 103.53]
    assert about["prompts"]["labels"]["absent"] == -2


def assert_equal_float32(folder: Path, decoders: int = 2) -> None:
    """Assert what was compared before the files were written: each decoder, five shapes of images, nine prompts."""
    rows = {row["output"]: row for row in manifest(folder)["compared"]}
    assert rows["image_embeddings"]["error"] <= 1e-4
    assert rows["low_res_masks, same embedding"]["error"] <= 5e-3
    assert rows["low_res_masks, same embedding"]["cases"] == decoders * 5 * 9
    assert rows["mask IoU, the lowest"]["error"] <= 1e-3


def assert_same_masks(folder: Path, torch_sam: Any, device: str) -> None:
    """Assert that a folder is a model like any other, with the masks of PyTorch for 1 to 6 points, boxes and masks."""
    model = mobilesam.load(folder)
    assert model.capabilities.device == device
    ours, wanted = mobilesam.SamPredictor(model), mobilesam.SamPredictor(torch_sam)
    for predictor in (ours, wanted):
        predictor.set_image(photo("coffee"))
    prompts: list[dict[str, Any]] = [{"point_coords": POINTS[:n], "point_labels": LABELS[:n]} for n in range(1, 7)]
    prompts += [{"box": BOX}, {"box": BOX, "point_coords": POINTS, "point_labels": LABELS}]
    for prompt in prompts:
        (masks, scores, low_res), (others, other_scores, _) = ours.predict(**prompt), wanted.predict(**prompt)
        assert np.abs(scores - other_scores).max() < 1e-3
        for mask, other in zip(masks, others, strict=True):
            assert share(mask, other) >= 0.999
        best = low_res[[scores.argmax()]]
        again, other = (each.predict(**prompt, mask_input=best)[0] for each in (ours, wanted))
        assert share(again, other) >= 0.999
    assert ours.predict_one(POINTS[:1], LABELS[:1], select="learned").confidence == pytest.approx(
        wanted.predict_one(POINTS[:1], LABELS[:1], select="learned").confidence, abs=1e-3
    )


def assert_golden(folder: Path, open_run: Any) -> None:
    """Assert that the files give the outputs in golden.npz within the tolerances, as an app's self-test does."""
    from mobilesam.onnx import fixed, fixed_folder

    about = manifest(folder)
    with np.load(folder / "golden.npz", allow_pickle=False) as archive:
        golden = dict(archive)
    exported = fixed_folder.read(folder, about["runtime"])
    graphs = fixed.graphs(exported.points, exported.frame_hw)
    encode, decode = (open_run(exported.files[role], graphs[role], 2)() for role in ("encoder", "decoder"))
    outputs = dict(encode({"input_image": golden["input_image"]}))
    prompt = {"point_coords": golden["point_coords"], "point_labels": golden["point_labels"]}
    no_mask = {"mask_input": np.zeros((1, 1, 256, 256), np.float32), "has_mask_input": np.zeros(1, np.float32)}
    outputs |= decode({"image_embeddings": outputs["image_embeddings"], **prompt, **no_mask})
    for name, tolerance in about["golden"]["tolerances"].items():
        assert np.abs(outputs[name] - golden[name]).max() <= tolerance, name


def share(mask: Any, other: Any) -> float:
    """Return the IoU of masks."""
    return float((mask & other).sum() / (mask | other).sum())
