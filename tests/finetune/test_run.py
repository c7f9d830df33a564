"""``mobilesam finetune`` from annotated photos to a checkpoint: what it writes, resuming, and what bad input gets."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam import weights
from mobilesam.errors import CheckpointError, InputError
from mobilesam.evaluate import Settings, evaluate, load_annotations
from mobilesam.image.read import read_image
from mobilesam.masks import choosers
from mobilesam.samples import write_samples
from mobilesam.weights import checkpoint
from tests.finetune.pages import write_pages

pytestmark = [pytest.mark.torch, pytest.mark.weights]

STEPS = 6
QUICK = {"learning_rate": 1e-3, "views": 0}
ALL = {**QUICK, "held_back": 0, "steps": STEPS}  # whose result is that of the last step
Photos = tuple[Path, Path]  # the folder of the images, the annotations
Digest = Callable[[Path], str]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    folder = tmp_path_factory.mktemp("photos")
    write_samples(folder)
    return folder, folder / "instances.json"


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings that all runs share."""
    return tmp_path_factory.mktemp("embeddings")


@pytest.fixture(scope="module")
def tuned(photos: Photos, embeddings: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of a few steps on all images."""
    return mobilesam.finetune(*photos, tmp_path_factory.mktemp("tuned") / "tuned.pt", embeddings=embeddings, **ALL)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run with a held-back image."""
    folder = tmp_path_factory.mktemp("reported")
    write_pages(folder / "pages", 4, seed=2, most=5)
    return mobilesam.finetune(
        folder / "pages", folder / "pages" / "instances.json", folder / "tuned.pt", steps=10, learning_rate=3e-4
    )


def arguments(photos: Photos, embeddings: Path, out: Path, *more: object) -> list[str]:
    images, annotations = photos
    given = ["--images", images, "--annotations", annotations, "--embeddings", embeddings, "--out", out]
    return [*map(str, (*given, "--steps", STEPS, "--views", 0, "--learning-rate", 1e-3, *more))]


def run(*given: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mobilesam", "finetune", *given]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **options)


def test_the_checkpoint_has_the_tensors_of_the_published_one(tuned: Any) -> None:
    import torch

    published = torch.load(weights.ensure(), weights_only=True)
    written = torch.load(tuned.path, weights_only=True)
    assert {key: (value.shape, value.dtype) for key, value in written.items()} == {
        key: (value.shape, value.dtype) for key, value in published.items()
    }
    differs = {key.partition(".")[0] for key in written if not torch.equal(written[key], published[key])}
    assert {"mask_decoder", "prompt_encoder"} <= differs
    network = {key for key in written if key.startswith("image_encoder.") and not key.startswith("image_encoder.head")
               and not key.startswith("image_encoder.norm_head")}  # fmt: skip
    assert all(torch.equal(written[key], published[key]) for key in network)


def test_it_is_a_model_like_any_other(tuned: Any, photos: Photos, tmp_path: Path) -> None:
    image = read_image(photos[0] / "cat.jpg")
    every = []
    for backend in ("torch", "onnx"):
        predictor = mobilesam.SamPredictor(mobilesam.load(tuned.path, backend))
        predictor.set_image(image)
        every.append(predictor.predict(box=np.array([60, 20, 400, 290]), multimask_output=False))
    assert (every[0].masks == every[1].masks).mean() > 0.9999
    assert np.allclose(every[0].iou_predictions, every[1].iou_predictions, atol=1e-3)
    original = mobilesam.SamPredictor(mobilesam.load(backend="onnx"))
    original.set_image(image)
    before = original.predict(box=np.array([60, 20, 400, 290]), multimask_output=False)
    assert np.abs(before.low_res_logits - every[1].low_res_logits).max() > 0.05


def test_the_report_is_about_the_held_back_images(reported: Any) -> None:
    report = json.loads((reported.folder / "report.json").read_text())
    assert report["format"] == "mobilesam-finetune-report-1"
    assert report["images"] == {"training": 3, "held_back": 1, "kept": 4}
    assert report["steps"]["planned"] == 10
    assert report["held_back"]["objects"] == 5
    assert report["weights"]["after"] == checkpoint.read(reported.path).weights_id
    assert {path.name for path in reported.folder.iterdir()} >= {"report.json", "report.md", "curve.png", "changes.png"}
    assert not (reported.folder / "state.pt").exists()
    held = [record["file_name"] for record in reported.before.records]
    assert held == [record["file_name"] for record in reported.after.records]
    assert len(held) == 1
    assert [row["step"] for row in report["history"]][:2] == [0, 1]


def test_equal_seeds_write_equal_files_and_embeddings_are_made_once(
    tuned: Any, photos: Photos, embeddings: Path, tmp_path: Path
) -> None:
    made = {path: path.stat().st_mtime_ns for path in embeddings.iterdir()}
    assert len(made) == 16, "four images, each also mirrored and cropped to be kept"
    assert all(path.stat().st_size < 2.2e6 for path in made)
    same = mobilesam.finetune(*photos, tmp_path / "same.pt", embeddings=embeddings, **ALL)
    assert same.path.read_bytes() == tuned.path.read_bytes()
    other = mobilesam.finetune(*photos, tmp_path / "other.pt", embeddings=embeddings, seed=1, **ALL)
    assert other.path.read_bytes() != tuned.path.read_bytes()
    assert {path: path.stat().st_mtime_ns for path in embeddings.iterdir()} == made


@pytest.mark.slow
def test_a_killed_run_is_resumed_and_writes_the_same_file(
    photos: Photos, embeddings: Path, tmp_path: Path, tuned: Any
) -> None:
    steps = ("--steps", "13", "--seed", "3", "--learning-rate", "1e-4", "--held-back", "0")  # never ends early
    whole = run(*arguments(photos, embeddings, tmp_path / "whole.safetensors", *steps))
    assert whole.returncode == 0, whole.stderr
    out = tmp_path / "killed.safetensors"
    given = arguments(photos, embeddings, out, *steps)
    process = subprocess.Popen([sys.executable, "-m", "mobilesam", "finetune", *given], stderr=subprocess.DEVNULL)
    state = tmp_path / "killed.finetune" / "state.pt"
    deadline = time.monotonic() + 300
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert state.exists()
    assert not out.exists()
    again = run(*given)
    assert again.returncode == 1
    assert "output folder must have no stopped run" in again.stderr
    assert "--resume" in again.stderr
    changed = run(*given, "--resume", "--seed", "4")
    assert changed.returncode == 1
    assert "had the settings" in changed.stderr
    assert "Traceback" not in changed.stderr
    resumed = run(*given, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not state.exists()


@pytest.mark.slow
def test_one_click_selects_a_word_after_training_on_text(tmp_path: Path) -> None:
    """The published weights select a letter. Pages are drawn, so that the test needs no photos."""
    write_pages(tmp_path / "train", 5, seed=0, most=12)
    write_pages(tmp_path / "test", 1, seed=1, most=20)
    out = tmp_path / "words.safetensors"
    result = run("--images", str(tmp_path / "train"), "--annotations", str(tmp_path / "train" / "instances.json"),
                 "--out", str(out), "--steps", "25", "--learning-rate", "3e-4", "--no-distill")  # fmt: skip
    assert result.returncode == 0, result.stderr
    dataset = load_annotations(tmp_path / "test" / "instances.json", tmp_path / "test")
    before, after = (evaluate(mobilesam.load(model), dataset, Settings(("box", "point"))) for model in (None, out))
    assert before.mean_iou("point") < 0.4
    assert after.mean_iou("point") > before.mean_iou("point") + 0.2
    assert after.mean_iou("box") > before.mean_iou("box") + 0.1


def test_low_rank_updates_change_the_attention_alone(photos: Photos, embeddings: Path, tmp_path: Path) -> None:
    result = mobilesam.finetune(*photos, tmp_path / "low.pt", embeddings=embeddings, lora=2, **ALL)
    original, written = checkpoint.read(weights.ensure()).state, checkpoint.read(result.path).state
    changed = {key for key in original if not np.array_equal(original[key], written[key])}
    assert len(changed) == 28
    assert all(key.startswith("mask_decoder.transformer.") and key.endswith("_proj.weight") for key in changed)


def test_the_neck_can_be_trained(photos: Photos, tmp_path: Path) -> None:
    result = mobilesam.finetune(*photos, tmp_path / "neck.pt", neck=True, **{**ALL, "steps": 2})
    original, written = checkpoint.read(weights.ensure()).state, checkpoint.read(result.path).state
    changed = {key for key in original if not np.array_equal(original[key], written[key])}
    assert {key for key in changed if key.startswith("image_encoder.")} == {
        f"image_encoder.neck.{name}" for name in ("0.weight", "1.weight", "1.bias", "2.weight", "3.weight", "3.bias")
    }
    files = list((tmp_path / "neck.finetune" / "embeddings").iterdir())
    assert len(files) == 16, "four images, each also mirrored and cropped to be kept"
    assert all(path.stat().st_size < 2.7e6 for path in files)


def test_a_run_without_distillation_and_held_back_images(photos: Photos, embeddings: Path, tmp_path: Path) -> None:
    result = mobilesam.finetune(
        *photos, tmp_path / "all.pt", steps=2, held_back=0, distill=False, views=3, embeddings=tmp_path / "views"
    )
    assert result.before is None
    assert len(list((tmp_path / "views").iterdir())) == 16
    report = json.loads((result.folder / "report.json").read_text())
    assert report["images"] == {"training": 4, "held_back": 0, "kept": 0}


def test_a_time_budget_ends_the_run(photos: Photos, embeddings: Path, tmp_path: Path) -> None:
    given = {**ALL, "steps": 500, "time_budget": 1}
    result = mobilesam.finetune(*photos, tmp_path / "quick.pt", embeddings=embeddings, **given)
    assert result.stopped == "the time budget of 1 s is used"
    assert result.path.exists()


def test_the_choosers_are_of_the_new_weights_or_absent(tuned: Any) -> None:
    path = choosers.file_of(tuned.path)
    model = mobilesam.load(tuned.path, "onnx")
    if path.exists():
        assert model.choosers.point.knows(model.weights_id) or model.choosers.box.knows(model.weights_id)
    assert not choosers.PUBLISHED.point.knows(model.weights_id)


def test_the_command_prints_a_table_and_json(
    command: Callable[..., Any], photos: Photos, embeddings: Path, tmp_path: Path
) -> None:
    given = arguments(photos, embeddings, tmp_path / "tuned.safetensors", "--json", "--held-back", "0")
    outcome = command("finetune", *given)
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["checkpoint"] == str(tmp_path / "tuned.safetensors")
    outcome = command("finetune", *given)
    assert outcome.code == 1
    assert "output file must not exist yet" in outcome.err


def annotations_with(photos: Photos, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = json.loads(photos[1].read_text())
    change(content)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(content))
    return path


def test_what_cannot_be_used_is_named_and_left_out(photos: Photos, embeddings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(photos[0], folder)
    (folder / "rocket.jpg").write_bytes(b"no image")
    (folder / "coffee.jpg").unlink()

    def change(content: dict[str, Any]) -> None:
        first = content["annotations"][0]
        size = next(each for each in content["images"] if each["id"] == first["image_id"])
        far = 10 * size["width"]
        content["annotations"] += [
            {**first, "id": 901, "segmentation": []},
            {
                **first,
                "id": 902,
                "segmentation": [[far, far, far + 9, far, far + 9, far + 9]],
                "bbox": [far, far, 9, 9],
            },
            {**first, "id": 903, "iscrowd": 1},
            {**first, "id": 904, "segmentation": [[5, 5, 6, 5, 6, 6]], "bbox": [5, 5, 1, 1]},
            *({**first, "id": 910 + number} for number in range(3)),
        ]

    path = annotations_with(photos, tmp_path, change)
    result = mobilesam.finetune(folder, path, tmp_path / "out.pt", steps=1, views=0, embeddings=embeddings)
    text = "\n".join(result.skipped)
    for part in (
        "rocket.jpg: ",
        "coffee.jpg: ",
        "annotation 901",
        "annotation 902",
        "annotation 903",
        "annotation 904",
    ):
        assert part in text


def test_too_few_objects_are_refused_before_anything_is_written(
    photos: Photos, embeddings: Path, tmp_path: Path
) -> None:
    def change(content: dict[str, Any]) -> None:
        del content["annotations"][2:]

    path = annotations_with(photos, tmp_path, change)
    with pytest.raises(InputError, match="annotations must have at least 3 usable objects, got 2"):
        mobilesam.finetune(photos[0], path, tmp_path / "new" / "out.pt", embeddings=embeddings)
    assert not (tmp_path / "new").exists()


def test_weights_that_are_not_finite_write_nothing(photos: Photos, embeddings: Path, tmp_path: Path) -> None:
    state = dict(checkpoint.read(weights.ensure()).state)
    state["mask_decoder.iou_token.weight"] = np.full_like(state["mask_decoder.iou_token.weight"], np.nan)
    checkpoint.write(tmp_path / "nan.pt", state)
    with pytest.raises(CheckpointError, match="is not a finite number, and nothing was written"):
        mobilesam.finetune(*photos, tmp_path / "out.pt", model=tmp_path / "nan.pt", embeddings=embeddings, views=0)
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize("name", ["tuned.onnx", "tuned", "tuned.pt.zip"])
def test_other_files_than_checkpoints_are_refused(photos: Photos, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="checkpoint file must end in one of"):
        mobilesam.finetune(*photos, tmp_path / name)


def test_wrong_arguments_are_named(command: Callable[..., Any], photos: Photos, tmp_path: Path) -> None:
    images, annotations = map(str, photos)
    base = ["--images", images, "--annotations", annotations, "--out", str(tmp_path / "out.pt")]
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"PK\x03\x04 no checkpoint")
    for more, message in (
        (["--model", str(broken)], "must be a checkpoint of MobileSAM or SAM"),
        (["--model", "mobile_sum"], "model must be one of"),
        (["--keep", str(tmp_path / "absent")], "keep must be a folder of images"),
        (["--annotations", str(tmp_path / "absent.json")], "absent.json"),
        (["--images", str(tmp_path / "absent")], "images must be a folder"),
        (["--learning-rate", "nan"], "learning_rate must be a number"),
        (["--device", "cuda"], "device must be available here"),
        (["--views", "2"], "views must be 0, 1 or 3"),
    ):
        outcome = command("finetune", *base, *more)
        assert outcome.code == 1, (more, outcome)
        assert message in outcome.err
        assert "Traceback" not in outcome.err
    assert not (tmp_path / "out.pt").exists()


def test_a_full_disk_leaves_no_half_file(photos: Photos, embeddings: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs Linux")
    limit = 20_000_000  # of each file: embeddings fit, the checkpoint and the state do not
    result = run(
        *arguments(photos, embeddings, tmp_path / "out.pt", "--steps", "21"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 1
    assert "a stopped run cannot be resumed" in result.stderr
    assert "output folder must be writable" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("*.pt"))
    assert not list(tmp_path.glob(".*partial*"))


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
def test_names_that_are_not_ascii(photos: Photos, embeddings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Fotos mit Löchern"
    shutil.copytree(photos[0], folder)
    (folder / "cat.jpg").rename(folder / "猫 1.jpg")
    content = (folder / "instances.json").read_text().replace("cat.jpg", "猫 1.jpg")
    (folder / "instances.json").write_text(content)
    result = mobilesam.finetune(
        folder, folder / "instances.json", tmp_path / "größer.pt", steps=1, held_back=0, embeddings=embeddings
    )
    assert result.path.exists()
    assert not result.skipped


def test_weights_without_gain_are_the_original_ones_with_a_warning(
    photos: Photos, embeddings: Path, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="no measurement on the held-back images was better"):
        result = mobilesam.finetune(
            *photos, tmp_path / "out.pt", steps=2, views=0, learning_rate=0.1, embeddings=embeddings
        )
    assert checkpoint.read(result.path).weights_id == checkpoint.read(weights.ensure()).weights_id
