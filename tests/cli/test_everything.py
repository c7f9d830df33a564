"""``mobilesam everything``, with a model that needs no weights, and once with the real one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mobilesam import formats
from mobilesam.masks import rle
from tests.automatic.color_model import ColorModel, squares

SQUARES = [(40, 80, 320, 440), (400, 120, 720, 360), (760, 400, 960, 600)]
PHOTO = squares((640, 1024), SQUARES)  # of the model's own size, so that no edge is blurred


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with cat.png, and the command without weights."""
    monkeypatch.setattr("mobilesam.cli.model.load_model", lambda *_, **__: ColorModel())
    Image.fromarray(PHOTO).save(tmp_path / "cat.png")
    return tmp_path


def run(command, folder, *arguments):
    return command("everything", folder / "cat.png", "--out", folder / "out", "--points-per-side", 16, *arguments)


def test_every_format_is_written_and_listed(command, folder):
    outcome = run(command, folder, "--format", "overlay,mask,coco,csv")
    assert outcome.code == 0
    names = ["cat-overlay.png", *(f"cat-masks/00{n}.png" for n in (1, 2, 3, 4)), "cat-masks.csv", "coco.json"]
    assert outcome.out.splitlines() == [str(folder / "out" / name) for name in names]
    assert all((folder / "out" / name).exists() for name in names)
    assert ": 4 masks in " in outcome.err
    overlay = np.array(Image.open(folder / "out/cat-overlay.png"))
    assert overlay.shape == PHOTO.shape
    assert (overlay != PHOTO).any(axis=2).mean() > 0.5


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
def test_the_files_agree(command, folder):
    outcome = run(command, folder, "--format", "mask,coco,csv", "--json")
    (photo,) = json.loads(outcome.out)["images"]
    assert (photo["width"], photo["height"], photo["partial"]) == (1024, 640, False)
    dataset = COCO(str(folder / "out/coco.json"))
    with (folder / "out/cat-masks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    annotations = dataset.loadAnns(dataset.getAnnIds())
    assert len(photo["masks"]) == len(rows) == len(annotations) == 4
    assert dataset.loadImgs(1) == [{"id": 1, "file_name": "cat.png", "width": 1024, "height": 640}]
    for described, row, annotation in zip(photo["masks"], rows, annotations, strict=True):
        mask = np.array(Image.open(folder / "out" / row["file"])) > 0
        y, x = np.nonzero(mask)
        box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        assert int(row["area"]) == annotation["area"] == described["area"] == mask.sum()
        assert [int(row[f"bbox_{side}"]) for side in ("x", "y", "width", "height")] == box
        assert annotation["bbox"] == described["bbox"] == box
        assert annotation["score"] == described["predicted_iou"] == float(row["predicted_iou"])
        np.testing.assert_array_equal(dataset.annToMask(annotation), mask)


@pytest.mark.filterwarnings("ignore::mobilesam.errors.FormatLossWarning")  # one square lies on black
def test_the_other_formats_hold_the_same_masks(command, folder):
    names = "mask,cutout,indexed,instances,labelme,yolo,geojson,coco,parquet"
    document = json.loads(run(command, folder, "--format", names, "--json").out)
    files = document["images"][0]["files"] | document["files"]
    masks = [formats.read_mask(Path(path)) for path in files["mask"]]
    images = {
        "coco": formats.read_coco(Path(files["coco"][0]))[0],
        "parquet": next(iter(formats.read_parquet(Path(files["parquet"][0])))),
        "geojson": formats.read_geojson(Path(files["geojson"][0])),
        "labelme": formats.read_labelme(folder / "out/cat.json"),
        "yolo": formats.read_yolo(folder / "out/cat.txt", (640, 1024)),
        "indexed": formats.read_map(Path(files["indexed"][0])),
        "instances": formats.read_map(Path(files["instances"][0])),
    }
    assert (folder / "out/data.yaml").read_text() == 'nc: 1\nnames:\n  0: "object"\n'
    assert (folder / "out" / images["labelme"].file_name).resolve() == folder / "cat.png"
    with Image.open(files["cutout"][0]) as image:
        np.testing.assert_array_equal(np.array(image)[..., 3] > 0, masks[0])
    for name, photo in images.items():
        for record, mask in zip(photo.records, masks, strict=True):
            again = rle.rle_to_mask(record["segmentation"])
            assert np.count_nonzero(again != mask) <= (0 if name in ("coco", "parquet", "geojson") else 900), name


def test_masks_are_chosen_by_area_and_number(command, folder):
    few = json.loads(run(command, folder, "--max-masks", 2, "--json").out)["images"][0]["masks"]
    assert len(few) == 2
    large = json.loads(run(command, folder, "--min-area", 80_000, "--json", "--force").out)["images"][0]["masks"]
    assert len(large) == 2
    assert min(mask["area"] for mask in large) >= 80_000


def test_existing_files_are_refused_before_the_model_runs(command, folder):
    (folder / "out/cat-masks").mkdir(parents=True)
    (folder / "out/cat-masks/001.png").write_bytes(b"mine")
    outcome = run(command, folder, "--format", "mask")
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: output file must not exist yet, got {folder / 'out/cat-masks/001.png'}; ")
    assert (folder / "out/cat-masks/001.png").read_bytes() == b"mine"


def test_force_leaves_no_mask_of_an_earlier_run(command, folder):
    run(command, folder, "--format", "mask")
    assert len(list((folder / "out/cat-masks").iterdir())) == 4
    run(command, folder, "--format", "mask", "--max-masks", 1, "--force")
    assert [path.name for path in (folder / "out/cat-masks").iterdir()] == ["001.png"]


def test_a_broken_photo_does_not_stop_the_others(command, folder):
    (folder / "broken.png").write_bytes(b"not an image")
    outcome = command(
        "everything", folder / "broken.png", folder / "cat.png", "--points-per-side", 8, "--out", folder, "--json"
    )
    assert outcome.code == 1
    document = json.loads(outcome.out)
    assert [photo["image"] for photo in document["images"]] == [str(folder / "cat.png")]
    assert [error["image"] for error in document["errors"]] == [str(folder / "broken.png")]
    assert "Traceback" not in outcome.err


def test_where_no_photo_can_be_read_no_file_is_written(command, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    outcome = command("everything", broken, "--out", tmp_path / "out", "--format", "coco")
    assert outcome.code == 1
    assert "error: image must be an image, got" in outcome.err
    assert outcome.out == ""
    assert not (tmp_path / "out").exists()


def test_a_photo_without_masks_still_has_its_files(command, folder, monkeypatch):
    monkeypatch.setattr("mobilesam.cli.model.load_model", lambda *_: ColorModel(quality=0.2))
    outcome = run(command, folder, "--format", "overlay,mask,coco,csv")
    assert outcome.code == 0
    assert ": 0 masks in " in outcome.err
    assert json.loads((folder / "out/coco.json").read_text())["annotations"] == []
    np.testing.assert_array_equal(np.array(Image.open(folder / "out/cat-overlay.png")), PHOTO)


def test_a_time_budget_is_reported(command, folder):
    outcome = run(command, folder, "--time-budget", 0, "--json")
    assert outcome.code == 0
    assert outcome.err.strip().endswith(", stopped at the time budget")
    assert json.loads(outcome.out)["images"][0]["partial"] is True


def test_an_interrupt_leaves_no_half_written_file(command, folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("PIL.Image.Image.save", interrupted)
    assert run(command, folder, "--format", "mask,overlay").code == 130
    assert [path for path in (folder / "out").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--format", "masks"],
            "error: --format must be one of overlay, mask, cutout, indexed, instances, coco, labelme, yolo, csv, "
            "geojson, parquet, got 'masks'; did you mean 'mask'?",
        ),
        (["--mode", "fastest"], "Invalid value for '--mode'"),
        (["--points-per-side", "0"], "Invalid value for '--points-per-side'"),
    ],
)
def test_wrong_options(command, folder, arguments, message):
    outcome = command("everything", folder / "cat.png", *arguments)
    assert outcome.code == 2
    assert message in outcome.err


@pytest.mark.torch
@pytest.mark.weights
def test_with_the_real_model(command, photo, tmp_path):
    outcome = command(
        "everything", photo("coins.png"), "--mode", "fast", "--points-per-side", 16, "--out", tmp_path, "--json"
    )
    assert outcome.code == 0, outcome.err
    masks = json.loads(outcome.out)["images"][0]["masks"]
    coins = [mask for mask in masks if 800 < mask["area"] < 4000]
    assert len(coins) >= 6
