"""``mobilesam batch``: whole runs, with a model that needs no weights, and with the real one in worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam import formats
from tests.automatic.color_model import ColorModel, squares
from tests.formats.scenes import masks_of

BOXES = [(40, 80, 320, 440), (400, 120, 720, 360)]
HW = (640, 1024)  # of the model's own size, so that no edge is blurred
CORNERS = 4  # which a mask of a quarter of the side rounds off


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with five images, one of them broken, and a model without weights."""
    monkeypatch.setattr("mobilesam.loading.load", lambda *_, **__: ColorModel())
    (tmp_path / "photos/sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "c.png", "sub/a.png")):
        Image.fromarray(squares(HW, BOXES[: 1 + number % 2])).save(tmp_path / "photos" / name)
    (tmp_path / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (tmp_path / "model.bin").write_bytes(b"weights")
    box = {"box": [40, 80, 320, 440]}
    (tmp_path / "prompts.json").write_text(json.dumps({"version": 1, "objects": [box, {"points": [[500, 200]]}]}))
    return tmp_path


def run(command, folder, *arguments, out="out", prompts=True):
    kind = ["--prompts", folder / "prompts.json"] if prompts else ["--everything", "--points-per-side", 8]
    where = ["--out", folder / out, "--model", folder / "model.bin", "--workers", 1]
    return command("batch", folder / "photos", *kind, *where, *arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_done_and_the_bad_photo_listed(command, folder):
    outcome = run(command, folder, "--format", "coco,parquet,overlay,mask,labelme")
    assert outcome.code == 1
    assert outcome.out.splitlines() == [str(folder / "out" / name) for name in ("coco.json", "masks.parquet")]
    lines = outcome.err.splitlines()
    assert lines[-2] == "4 images done, 1 bad"
    assert lines[-1].startswith("error: image must be an image, got ")
    assert "broken.jpg" in lines[-1]
    photos = formats.read_coco(folder / "out/coco.json")
    assert [Path(each.file_name).name for each in photos] == ["a.png", "b.png", "c.png", "a.png"]
    assert list(formats.read_parquet(folder / "out/masks.parquet"))[3].file_name == photos[3].file_name
    for photo in photos:
        boxed, pointed = masks_of(photo)
        assert boxed.sum() == boxed[80:440, 40:320].sum() == 280 * 360 - CORNERS
        assert pointed[200, 500]
    first = contents(folder / "out")
    assert {"a-overlay.png", "sub/a-overlay.png", "sub/a-masks/002.png", "sub/a.json"} <= first.keys()
    np.testing.assert_array_equal(formats.read_mask(folder / "out/sub/a-masks/001.png"), masks_of(photos[3])[0])


def test_everything_gives_the_masks_of_the_command_for_single_images(command, folder, monkeypatch):
    assert run(command, folder, prompts=False).code == 1
    monkeypatch.setattr("mobilesam.cli.model.load_model", lambda *_, **__: ColorModel())
    sources = [folder / "photos" / name for name in ("a.png", "b.png", "c.png", "sub/a.png")]
    assert (
        command("everything", *sources, "--points-per-side", 8, "--format", "coco", "--out", folder / "one").code == 0
    )
    assert (folder / "one/coco.json").read_bytes() == (folder / "out/coco.json").read_bytes()


def test_an_interrupted_run_is_resumed_with_the_same_files(command, folder, monkeypatch):
    formats = ("--format", "coco,overlay,parquet")
    run(command, folder, *formats)
    encode, photos = ColorModel.encode, []

    def interrupted(self, image, **options):
        photos.append(image)
        if len(photos) == 3:
            raise KeyboardInterrupt
        return encode(self, image, **options)

    monkeypatch.setattr(ColorModel, "encode", interrupted)
    outcome = run(command, folder, *formats, out="again")
    assert outcome.code == 130
    assert f"interrupted; continue with --resume --out {folder / 'again'}" in outcome.err
    assert not (folder / "again/coco.json").exists()
    outcome = run(command, folder, *formats, "--resume", out="again")
    assert outcome.code == 1
    assert 4 <= len(photos) <= 6, "what was done is not done again"
    assert contents(folder / "again") == contents(folder / "out")


def test_a_repaired_image_is_done_on_resume(command, folder):
    assert run(command, folder).code == 1
    Image.fromarray(squares(HW, BOXES)).save(folder / "photos/broken.jpg")
    assert run(command, folder, "--resume").code == 0
    run(command, folder, out="fresh")
    assert contents(folder / "out") == contents(folder / "fresh")


def test_strict_stops_at_the_first_bad_photo(command, folder):
    outcome = run(command, folder, "--strict")
    assert outcome.code == 1
    path = folder / "photos/broken.jpg"
    assert outcome.err.startswith(f"error: Stopped at the first bad image. image must be an image, got {path}, which ")
    assert outcome.err.endswith(". Fix the file, then run again with --resume.\n")
    assert not (folder / "out/coco.json").exists()
    (folder / "photos/broken.jpg").unlink()
    assert run(command, folder, "--resume").code == 1
    Image.fromarray(squares(HW, BOXES)).save(folder / "photos/broken.jpg")
    assert run(command, folder, "--resume", "--strict").code == 0


def test_the_boxes_of_a_coco_file_are_the_prompts(command, folder):
    content = {
        "images": [{"id": 7, "file_name": "photos/b.png"}, {"id": 3, "file_name": "sub/a.png"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [40, 80, 280, 360], "score": 0.25},
            {"id": 2, "image_id": 7, "category_id": 5, "bbox": [400, 120, 320, 240]},
        ],
        "categories": [{"id": 5, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    (folder / "prompts.json").write_text(json.dumps(content))
    outcome = run(command, folder, "--format", "coco,yolo", "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert (document["done"], document["errors"], len(document["left_out"])) == (2, [], 3)
    assert "3 images have no prompt, such as" in outcome.err
    first, second = formats.read_coco(folder / "out/coco.json")
    assert (first.file_name, second.file_name, len(second.records)) == ("b.png", "sub/a.png", 0)
    assert [(each["label"], each["area"]) for each in first.records] == [
        ("cat", 280 * 360 - CORNERS),
        ("dog", 320 * 240 - CORNERS),
    ]
    assert [(each.get("score"), each["detection_id"]) for each in first.records] == [(0.25, 1), (None, 2)]
    again = formats.read_yolo(folder / "out/b.txt", HW, ["dog", "cat"])
    assert [each["label"] for each in again.records] == ["cat", "dog"]
    assert (folder / "out/sub/a.txt").read_text() == ""
    assert '1: "cat"' in (folder / "out/data.yaml").read_text()
    ids = {image["file_name"]: image["id"] for image in json.loads((folder / "out/coco.json").read_text())["images"]}
    assert ids == {"b.png": 7, "sub/a.png": 3}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--everything"], 2, "error: batch must have either --prompts FILE or --everything, got both; give one"),
        (["--format", "maks"], 2, "error: --format must be one of overlay, mask,"),
        (["--ray-address", "auto"], 2, "error: --ray-address must be used with --engine ray, got --engine local; add"),
        (["--resume"], 1, "error: output file must not exist yet, got "),
        (["--prompts", "absent.json"], 1, "error: prompt file must exist, got absent.json"),
    ],
)
def test_wrong_options(command, folder, arguments, code, message):
    (folder / "out").mkdir()
    (folder / "out/coco.json").write_text("mine")
    outcome = run(command, folder, *arguments)
    assert outcome.code == code
    assert message in outcome.err
    assert contents(folder / "out") == {"coco.json": b"mine"}


def test_an_existing_run_is_kept(command, folder):
    run(command, folder)
    before = contents(folder / "out")
    outcome = run(command, folder)
    assert outcome.code == 1
    assert (
        "batch.sqlite; continue the run with --resume, start again with --force, or choose another --out" in outcome.err
    )
    outcome = run(command, folder, "--resume", prompts=False)
    assert outcome.err.startswith(f"error: The run in {folder / 'out'} cannot be resumed: ")
    assert contents(folder / "out") == before
    assert run(command, folder, "--force", prompts=False).code == 1
    assert contents(folder / "out") != before


@pytest.fixture
def photos(tmp_path, photo):
    """Six small photos and a broken one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(photo("chelsea.png")) as cat:
        for number in range(6):
            cat.crop((number, 0, 200 + number, 150)).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    box = {"box": [20, 20, 150, 130], "label": "cat"}
    (tmp_path / "prompts.json").write_text(json.dumps({"version": 1, "objects": [box, {"points": [[100, 75]]}]}))
    return tmp_path


def start(folder, out, *arguments):
    command = ["batch", "photos", "--prompts", "prompts.json", "--format", "coco,parquet,overlay", "--out", out]
    return subprocess.Popen(
        [sys.executable, "-m", "mobilesam", *command, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.weights
def test_a_killed_run_is_resumed_with_the_same_files(photos):
    """Two workers, killed and replaced by two others, write the same bytes as one worker."""
    whole = start(photos, "whole", "--workers", "1", "--threads", "1")
    assert whole.communicate()[1].splitlines()[0] == "6 images done, 1 bad"
    killed = start(photos, "killed", "--workers", "2", "--threads", "1")
    while not list((photos / "killed").glob("*-overlay.png")):
        assert killed.poll() is None
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (photos / "killed/coco.json").exists()
    resumed = start(photos, "killed", "--workers", "2", "--threads", "1", "--resume")
    assert resumed.communicate()[1].splitlines()[0] == "6 images done, 1 bad"
    assert (whole.returncode, resumed.returncode) == (1, 1)
    assert contents(photos / "killed") == contents(photos / "whole")


@pytest.mark.weights
def test_embeddings_made_beforehand_are_used(command, photos, monkeypatch):
    monkeypatch.chdir(photos)
    outcome = command("embed", "photos/2.png", "photos/broken.jpg", "--out", "embeddings", "--workers", 1, "--json")
    assert outcome.code == 1
    document = json.loads(outcome.out)
    assert list(document["embeddings"]) == ["photos/2.png"]
    assert [error["image"] for error in document["errors"]] == ["photos/broken.jpg"]
    predict = ["predict", "photos/2.png", "--point", "100,75", "--format", "mask"]
    assert command(*predict, "--out", "fresh").code == 0

    def encode(*_, **__):
        raise AssertionError("the image is encoded already")

    monkeypatch.setattr("mobilesam.onnx.OnnxSam.encode", encode)
    assert command("embed", "photos/2.png", "--out", "embeddings", "--workers", 1).code == 0
    assert command(*predict, "--out", "prepared", "--embeddings", "embeddings").code == 0
    assert contents(photos / "prepared") == contents(photos / "fresh")
    assert command(*predict, "--out", "x", "--embeddings", "absent").err.startswith(
        "error: the folder of embeddings must exist, got absent; create it with mobilesam embed"
    )
