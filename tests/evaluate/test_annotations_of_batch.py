"""What ``mobilesam batch`` writes is ground truth as it is: the real model, two photos, every format."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilesam.evaluate import Dataset, load_annotations
from mobilesam.evaluate.coco import read_instances
from mobilesam.evaluate.metrics import tight_box
from tests.evaluate.scenes import coins
from tests.photos import photo

FILES = {  # of a format in the folder of the results
    "coco": "coco.json",
    "parquet": "masks.parquet",
    "labelme": "*.json",
    "yolo": "*.txt",
    "indexed": "*-indexed.png",
    "instances": "*-instances.png",
    "geojson": "*.geojson",
}
OBJECTS = {
    "astronaut.jpg": [{"box": [60, 10, 120, 150], "label": "person"}, {"points": [[190, 60]], "label": "shuttle"}],
    "deep/coins.png": [{"box": (tight_box(coins()[place]) / 2).tolist()} for place in (1, 6)],
}


def test_every_format_of_a_batch_is_read_back(command: Callable[..., Any], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for name in OBJECTS:
        image = Image.fromarray(photo(Path(name).stem))
        image.resize((image.width // 2, image.height // 2)).save(photos / name)
    (tmp_path / "prompts.json").write_text(json.dumps({"version": 1, "images": OBJECTS}))
    out = ("--out", tmp_path / "out", "--format", ",".join(FILES), "--workers", 1)
    assert command("batch", photos, "--prompts", tmp_path / "prompts.json", *out).code == 0

    truth = masks_of(load_annotations(tmp_path / "out/coco.json", photos))
    assert {name: len(masks) for name, masks in truth.items()} == {"astronaut.jpg": 2, "deep/coins.png": 2}
    for kind, pattern in FILES.items():
        folder = tmp_path / "kinds" / kind
        for path in (tmp_path / "out").rglob(pattern):
            if path.name != "coco.json" or kind == "coco":
                target = folder / path.relative_to(tmp_path / "out")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        if kind == "yolo":
            shutil.copy(tmp_path / "out/data.yaml", folder)
        dataset = load_annotations(folder, photos)
        assert dataset.problems == (), kind
        if kind not in ("indexed", "instances"):
            assert set(dataset.categories.values()) == {"person", "shuttle", "object"}, kind
        compare(masks_of(dataset), truth, 0.97 if kind == "yolo" else 1.0)
    with warnings.catch_warnings(action="ignore"):
        compare(masks_of(load_annotations(tmp_path / "out", photos)), truth, 1.0)

    outcome = command("eval", "--images", photos, "--annotations", tmp_path / "kinds/labelme", "--prompts", "box")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("4 instances on 2 images\n")


def masks_of(dataset: Dataset) -> dict[str, list[np.ndarray]]:
    masks = {}
    for image in dataset.images:
        assert image.stated_hw is not None
        instances, skipped = read_instances(image, image.stated_hw, dataset.categories)
        assert not skipped
        masks[image.file_name] = [instance.mask for instance in instances]
    return masks


def compare(result: dict[str, list[np.ndarray]], truth: dict[str, list[np.ndarray]], least: float) -> None:
    assert result.keys() == truth.keys()
    for name, masks in truth.items():
        for mask, expected in zip(result[name], masks, strict=True):
            assert (mask & expected).sum() / (mask | expected).sum() >= least, name


pytestmark = pytest.mark.weights
