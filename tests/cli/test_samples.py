"""``mobilesam samples``: the photos, prompts and annotations that the documentation uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilesam.evaluate.coco import load_coco
from mobilesam.image import read_image
from mobilesam.prompts.file import read_prompts
from mobilesam.samples import NAMES, write_samples


def test_the_samples_are_written_and_listed(command: Callable[..., Any], tmp_path: Path) -> None:
    outcome = command("samples", tmp_path / "photos")
    assert outcome.code == 0
    assert outcome.out.split() == [str(tmp_path / "photos" / name) for name in NAMES]
    photos = sorted((tmp_path / "photos").glob("*.jpg"))
    assert len(photos) == 4
    assert sum(path.stat().st_size for path in photos) < 400_000
    assert all(max(read_image(path).shape) <= 640 for path in photos)


def test_no_file_is_overwritten_unless_forced(command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "rocket.jpg").write_bytes(b"mine")
    outcome = command("samples", tmp_path)
    assert outcome.code == 1
    assert "rocket.jpg" in outcome.err
    assert "--force" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["rocket.jpg"]
    assert (tmp_path / "rocket.jpg").read_bytes() == b"mine"
    assert command("samples", tmp_path, "--force").code == 0
    assert read_image(tmp_path / "rocket.jpg").shape == (427, 640, 3)


def test_a_message_names_no_option_that_the_command_lacks(command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    expected = (
        f"error: output folder must be writable, got {tmp_path / 'notes.txt'} (File exists); choose another folder\n"
    )
    assert command("samples", tmp_path / "notes.txt")[::2] == (1, expected)
    assert command("samples", tmp_path).code == 0
    code, _, error = command("samples", tmp_path)
    assert code == 1
    assert error.endswith("cat.jpg; choose another one, or overwrite it with --force\n")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_prompts_and_annotations_belong_to_the_photos(tmp_path: Path) -> None:
    write_samples(tmp_path)
    prompts = read_prompts(tmp_path / "prompts.json")
    assert all(prompts.for_image(name) for name in NAMES[:4])
    dataset = load_coco(tmp_path / "instances.json", tmp_path)
    assert len(dataset.images) == 4
    for entry in json.loads((tmp_path / "instances.json").read_text())["images"]:
        assert read_image(tmp_path / entry["file_name"]).shape == (entry["height"], entry["width"], 3)


@pytest.mark.weights
def test_the_outlines_are_those_of_the_objects(command: Callable[..., Any], tmp_path: Path) -> None:
    write_samples(tmp_path)
    annotations = tmp_path / "instances.json"
    outcome = command("eval", "--images", tmp_path, "--annotations", annotations, "--prompts", "box", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["summary"]["prompts"]["box"]["mean_iou"] > 0.85
