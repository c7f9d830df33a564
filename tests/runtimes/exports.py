"""What the tests of runtimes share: exports by the command line, and comparisons with PyTorch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam.config import ALL_MASKS
from mobilesam.prompts.arrays import make_prompts
from tests.photos import photo

BOX = [75, 10, 482, 395]  # of the cup and its saucer in the photo of coffee
POINTS = np.array([[210, 140], [300, 200], [250, 300], [400, 200], [150, 250], [90, 90]])
LABELS = np.array([1, 1, 1, 1, 0, 0])
TOP = ("image_embeddings",)  # of golden.npz, which belong to no prompt


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mobilesam", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)


def export(runtime: str, out: Path, *more: str) -> Path:
    done = run("export", "--to", runtime, "--out", out, *more)
    assert done.returncode == 0, done.stderr
    return out


def export_all(runtime: str, folder: Path) -> tuple[Path, Path]:
    """Export in float32 and, at the same time, with eight bits, two points, and frames of a camera."""
    options = ("--precision", "int8", "--points", "2", "--image-size", "768x1024")
    with ThreadPoolExecutor(2) as threads:
        exported = threads.submit(export, runtime, folder / "float32")
        small = threads.submit(export, runtime, folder / "int8", *options)
    return exported.result(), small.result()


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
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
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
    with np.load(folder / about["golden"]["file"], allow_pickle=False) as archive:
        golden = dict(archive)
    exported = fixed_folder.read(folder, about["runtime"])
    graphs = fixed.graphs(exported.points, exported.frame_hw)
    runs = {role: open_run(path, graphs[role], 2)() for role, path in exported.files.items()}
    assert golden["image"].shape[0] != golden["image"].shape[1]
    outputs = {"image_embeddings": runs["encoder"]({"input_image": golden["input_image"]})["image_embeddings"]}
    names = ("point_coords", "point_labels", "mask_input", "has_mask_input")
    for prompt in ("click", "box"):
        inputs = {name: golden[f"{prompt}_{name}"] for name in names}
        decoded = runs["decoder"]({"image_embeddings": outputs["image_embeddings"], **inputs})
        outputs |= {f"{prompt}_{name}": decoded[name] for name in ("low_res_masks", "iou_predictions")}
    if "chooser" in runs:
        inputs = {name: golden[f"click_{name}"] for name in ("low_res_masks", "iou_predictions", "point_coords")}
        chosen = runs["chooser"]({**inputs, "orig_im_size": golden["orig_im_size"]})
        outputs["click_confidences"] = chosen["confidences"]
    assert outputs.keys() == {name for name in golden if name.endswith(tuple(about["golden"]["tolerances"]))}
    for name, output in outputs.items():
        tolerance = about["golden"]["tolerances"][name.partition("_")[2] if name not in TOP else name]
        assert np.abs(output - golden[name]).max() <= tolerance, name


def assert_same_in_threads(folder: Path) -> None:
    """Assert that threads that decode at the same time do not disturb each other."""
    model = mobilesam.load(folder, threads=1)
    embedding = model.encode(photo("coffee"))
    sizes = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}

    def masks(place: int) -> Any:
        click = {"point_coords": POINTS[[place % 6]], "point_labels": LABELS[[place % 6]]}
        prompts, _ = make_prompts(**click, **sizes)
        return model.decode(embedding, prompts, ALL_MASKS).low_res_logits

    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(masks, range(12)))
    for place, logits in enumerate(together):
        np.testing.assert_array_equal(logits, masks(place))


def share(mask: Any, other: Any) -> float:
    """Return the IoU of masks."""
    return float((mask & other).sum() / (mask | other).sum())
