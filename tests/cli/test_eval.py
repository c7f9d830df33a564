"""``mobilesam eval`` on coins, and what it says to wrong arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilesam import formats
from tests.evaluate.scenes import coins, compressed, write_coco
from tests.formats.scenes import record
from tests.photos import photo

Command = Callable[..., Any]
TORCH = ("--backend", "torch", "--device", "cpu")


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of coins; one annotation is empty, one image missing."""
    names = ("a.png", "b.png", "gone.png")
    listed = [{"image_id": name, "segmentation": compressed(mask)} for name in names for mask in coins()[:2]]
    listed.append({"image_id": "a.png", "segmentation": []})
    path = write_coco(tmp_path_factory.mktemp("coins"), dict.fromkeys(names, photo("coins")), listed)
    (path.parent / "gone.png").unlink()
    return path


@pytest.mark.torch
@pytest.mark.weights
def test_a_run_writes_report_records_and_plots_and_can_go_on(
    command: Command, annotations: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    base = ("eval", "--images", annotations.parent, "--annotations", annotations, *TORCH)
    first = command(*base, "--prompts", "box,clicks", "--max-clicks", 2, "--limit", 1, "--out", out)
    assert first.code == 0
    assert first.out == (out / "results.md").read_text()
    assert first.out.startswith("2 instances on 1 images; 0 images and 1 annotations could not be used\n")
    assert "warning: a.png, annotation 7: segmentation is missing or empty" in first.err

    more = command(*base, "--prompts", "box,clicks", "--max-clicks", 2, "--out", out, "--resume", "--json")
    assert more.code == 0
    assert "warning: gone.png: image must be an existing file" in more.err
    document = json.loads(more.out)
    assert document == json.loads((out / "results.json").read_text())
    assert document["summary"]["instances"] == 4
    assert document["summary"]["prompts"]["box"]["mean_iou"] > 0.9
    assert document["settings"]["max_clicks"] == 2
    assert document["environment"]["versions"]["torch"]
    lines = [json.loads(line) for line in (out / "instances.jsonl").read_text().splitlines()]
    assert [line["file_name"] for line in lines[1:]] == ["a.png", "b.png", "gone.png"]
    for stem in ("iou-histogram", "clicks", "worst-box", "worst-clicks"):
        with Image.open(out / f"{stem}.png") as plot:
            assert min(plot.size) > 300
        assert (out / f"{stem}.svg").read_text().rstrip().endswith("</svg>")

    other = command(*base, "--prompts", "box", "--out", out, "--resume")
    assert other.code == 1
    assert "cannot be resumed: its settings is {" in other.err
    again = command(*base, "--prompts", "box", "--out", out)
    assert again.code == 1
    assert "continue with --resume, start again with --force, or choose another --out" in again.err


@pytest.mark.torch
@pytest.mark.weights
def test_labels_of_any_format_are_ground_truth(command: Command, annotations: Path, tmp_path: Path) -> None:
    records = [record(mask, "coin") for mask in coins()[:2]]
    hw = (coins()[0].shape[0], coins()[0].shape[1])
    formats.write_labelme(tmp_path / "a.json", formats.MaskedImage("a.png", hw, records))
    (tmp_path / "b.json").write_text("{")
    outcome = command("eval", "--images", annotations.parent, "--annotations", tmp_path, *TORCH, "--json")
    assert outcome.code == 0
    assert f"warning: b.json: {tmp_path / 'b.json'} must be JSON, got " in outcome.err
    document = json.loads(outcome.out)
    assert [problem["file"] for problem in document["problems"]] == ["b.json"]
    assert document["summary"]["instances"] == 2
    assert document["summary"]["prompts"]["box"]["mean_iou"] > 0.9
    (tmp_path / "a.json").unlink()
    outcome = command("eval", "--images", annotations.parent, "--annotations", tmp_path, *TORCH)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: No annotation in {tmp_path} can be used. b.json: ")


@pytest.mark.torch
@pytest.mark.weights
def test_a_data_set_without_a_usable_instance_is_a_failure(command: Command, annotations: Path, tmp_path: Path) -> None:
    content = json.loads(annotations.read_text())
    content["annotations"] = [content["annotations"][-1]]
    (tmp_path / "empty.json").write_text(json.dumps(content))
    outcome = command("eval", "--images", annotations.parent, "--annotations", tmp_path / "empty.json", *TORCH)
    assert outcome.code == 1
    assert "no annotated object can be measured (image must be an existing file" in outcome.err
    assert "; check --images and --annotations" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--resume"], 2, "--resume must come with --out"),
        (["--seed", "3"], 2, "--seed must come with --limit"),
        (["--prompts", "boxes"], 1, "--prompts must be one of box, point, clicks, got 'boxes'; did you mean 'box'?"),
        (["--annotations", "none.json"], 1, "The annotations none.json cannot be read (No such file"),
        (["--images", "nowhere"], 1, "images must be a folder, got 'nowhere'"),
        (["--limit", "0"], 2, "--limit"),
    ],
)
def test_wrong_arguments(command: Command, annotations: Path, options: list[str], code: int, message: str) -> None:
    outcome = command("eval", "--images", annotations.parent, "--annotations", annotations, *options)
    assert outcome.code == code
    assert message in outcome.err
    assert outcome.out == ""
