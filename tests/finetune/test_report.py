"""The report of a training run: numbers, text and plots, from real evaluations and from missing ones."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from mobilesam import load
from mobilesam.errors import InputError
from mobilesam.evaluate import Dataset, Evaluation, Settings, evaluate, load_coco
from tests.evaluate.scenes import coins, compressed, write_coco
from tests.photos import photo
from tests.shared_models import encode_once

pytestmark = [pytest.mark.torch, pytest.mark.weights]

NAMES = ("a|b `c` [d].png", "mi$sing {brace} \u5bfa.png")
HISTORY = [
    {"step": 0, "box": 0.8, "point": 0.6, "best": 0.7, "mean": 0.7},
    {"step": 10, "loss": 1.2, "box": 0.85, "point": 0.66, "best": 0.75, "mean": 0.755},
    {"step": 20, "loss": 0.9, "box": 0.84, "point": 0.65, "best": 0.75, "mean": 0.745},
]
LOSSES = [{"step": 0}, {"step": 10, "loss": 1.2}, {"step": 20, "loss": 0.9}]


def about(**changed: Any) -> dict[str, Any]:
    return {
        "images": {"training": 8, "held_back": 2, "kept": 4},
        "objects": {"training": 40, "held_back": 8},
        "steps": {"planned": 40, "done": 20, "chosen": 10},
        "stopped": "",
        "settings": {"steps": None, "lora": 4, "neck": False},
        "seconds": {"encoding": 3.25, "training": 60.0},
        "weights": {"before": "0" * 64, "after": "1" * 64},
        "threads": 2,
        "versions": {"mobilesam": "0.2.0", "torch": "2.14.1"},
        "choosers": {"point": {"mean_iou": 0.712345678, "used": True}},
        "skipped": ["x|y.png, annotation 3: the mask is too small"],
        **changed,
    }


class Run(NamedTuple):
    dataset: Dataset
    before: Evaluation
    after: Evaluation

    def part(self, objects: int) -> Run:
        """Return the run with the first objects of the first image alone."""

        def cut(evaluation: Evaluation) -> Evaluation:
            record = evaluation.records[0]
            return Evaluation([{**record, "instances": record["instances"][:objects]}], evaluation.settings)

        return Run(replace(self.dataset, images=self.dataset.images[:1]), cut(self.before), cut(self.after))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Evaluations on the coins of two halves of a photo, by the published weights and with a changed decoder."""
    import torch

    folder = tmp_path_factory.mktemp("coins")
    image = photo("coins")
    halves = np.s_[: image.shape[0] // 2], np.s_[image.shape[0] // 2 :]
    annotations = []
    for name, half in zip(NAMES, halves, strict=True):
        whole = [mask[half] for mask in coins() if mask[half].sum() == mask.sum()][:4]
        annotations += [
            {"image_id": name, "segmentation": compressed(mask), "category_id": number % 2}
            for number, mask in enumerate(whole)
        ]
    path = write_coco(folder, {name: image[half] for name, half in zip(NAMES, halves, strict=True)}, annotations)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"categories": [{"id": 0, "name": "<b>x|y"}, {"id": 1, "name": "coin"}]}))
    dataset = load_coco(path, folder)
    settings = Settings(("box", "point", "clicks"), max_clicks=2)
    model: Any = encode_once(load(backend="torch", device="cpu"))
    before = evaluate(model, dataset, settings)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.sam.mask_decoder.parameters():
            parameter.mul_(1 + 0.2 * torch.randn_like(parameter))
    return Run(dataset, before, evaluate(model, dataset, settings))


def write(folder: Path, run: Run | None, *, history: Any = HISTORY, force: bool = False, **changed: Any) -> list[Path]:
    from mobilesam.finetune.report import write_report

    before, after = (run.before, run.after) if run else (None, None)
    dataset = run.dataset if run else Dataset((), {}, "")
    return write_report(folder, about(**changed), history, before, after, dataset, force=force)


def document(folder: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads((folder / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)


def text(folder: Path) -> str:
    return (folder / "report.md").read_text(encoding="utf-8")


def check_tables(markdown: str) -> None:
    """Every row of a table has the number of cells of its head, and headings stand alone."""
    for block in markdown.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block
        assert not block.startswith("#") or "\n" not in block.strip()


def test_the_numbers_are_those_of_the_evaluations(run: Run, tmp_path: Path) -> None:
    paths = write(tmp_path / "out", run)
    assert [path.name for path in paths] == ["report.json", "report.md", "curve.svg", "curve.png", "changes.png"]
    assert {*paths} == {*(tmp_path / "out").iterdir()}
    content = document(tmp_path / "out")
    assert content["format"] == "mobilesam-finetune-report-1"
    assert content["history"] == HISTORY
    assert {name: content[name] for name in about()} == about()
    measured = content["held_back"]
    assert (measured["objects"], measured["images"]) == (8, 2)
    changes = {(each["prompt"], each["measure"]): each for each in measured["changes"]}
    assert len(changes) == len(measured["changes"]) == 9
    summaries = [run.before.summary["prompts"], run.after.summary["prompts"]]
    for kind in ("box", "point"):
        for measure, name in (("iou", "mean_iou"), ("boundary_iou", "boundary_iou")):
            expected = [summary[kind][name] for summary in summaries]
            assert [changes[kind, measure][key] for key in ("before", "after")] == pytest.approx(expected)
    expected = [summary["point"]["oracle_iou"] for summary in summaries]
    assert [changes["point", "best_of_three"][key] for key in ("before", "after")] == pytest.approx(expected)
    for name in ("85", "90"):
        expected = [summary["clicks"]["noc"][name] for summary in summaries]
        assert [changes["clicks", f"clicks_{name}"][key] for key in ("before", "after")] == pytest.approx(expected)
    gains = np.array([after - before for before, after in (each["box"] for each in measured["ious"])])
    assert changes["box", "iou"]["difference"] == pytest.approx(gains.mean())
    assert changes["box", "iou"]["worse"] == np.mean(gains < -0.02)
    low, high = changes["box", "iou"]["interval"]
    assert low < gains.mean() < high
    results = [instance["box"] for record in run.before.records for instance in record["instances"]]
    errors = [abs(result["predicted"][0] - result["iou"]) for result in results]
    assert changes["box", "predicted_iou_error"]["before"] == pytest.approx(np.mean(errors))
    assert [each["file_name"] for each in measured["ious"]] == [NAMES[0]] * 4 + [NAMES[1]] * 4
    assert {each["category"]: each["objects"] for each in measured["categories"]} == {"<b>x|y": 4, "coin": 4}


def test_the_text_says_what_changed_and_with_what_certainty(run: Run, tmp_path: Path) -> None:
    write(tmp_path, run)
    markdown = text(tmp_path)
    check_tables(markdown)
    before, after = run.before.mean_iou("box"), run.after.mean_iou("box")
    assert f"| box: IoU | {before:.3f} | {after:.3f} | {after - before:+.3f} | " in markdown
    assert "**Few objects.** The figures rest on 8 objects of 2 images" in markdown
    assert "\n**The new weights are " in markdown
    assert "| \\<b>x\\|y | 4 |" in markdown
    assert "| training | 8 images, 40 objects |" in markdown
    assert "| steps | 20 of 40, best at 10 |" in markdown
    assert "| settings | steps none, lora 4, neck false |" in markdown
    assert "| point mean_iou | 0.7123 |" in markdown
    assert "- x\\|y.png, annotation 3: the mask is too small" in markdown
    assert "](curve.png)" in markdown
    assert "](changes.png)" in markdown


def test_the_plots_show_the_course_and_the_objects(run: Run, tmp_path: Path) -> None:
    write(tmp_path, run)
    with Image.open(tmp_path / "changes.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0] > 60) & (pixels[..., 2] > 120)
    assert blue.sum() > 20000, "masks"
    assert (np.abs(pixels - (24, 160, 88)).max(axis=-1) < 12).sum() > 100, "clicks"
    curve = (tmp_path / "curve.svg").read_text()
    assert "<!-- step 10 is used -->" in curve
    assert "<!-- Mean IoU on the held-back images -->" in curve


def test_a_report_is_written_again_only_by_force_and_is_the_same(run: Run, tmp_path: Path) -> None:
    contents = {path: path.read_bytes() for path in write(tmp_path, run)}
    with pytest.raises(InputError, match=r"output file must not exist yet, got .*report\.json; choose another one"):
        write(tmp_path, run)
    assert {path: path.read_bytes() for path in write(tmp_path, run, force=True)} == contents


def test_without_held_back_images_it_says_that_nothing_was_measured(tmp_path: Path) -> None:
    from mobilesam.finetune.report import summary_lines

    images = {"training": 8, "held_back": 0, "kept": 0}
    paths = write(tmp_path, None, history=LOSSES, images=images, objects={"training": 40, "held_back": 0}, choosers={})
    assert [path.name for path in paths] == ["report.json", "report.md", "curve.svg", "curve.png"]
    assert document(tmp_path)["held_back"] is None
    markdown = text(tmp_path)
    check_tables(markdown)
    assert "No images were held back, so the effect of the run was not measured.\n\nHold images back" in markdown
    assert "mobilesam eval" in markdown
    assert "held back |" not in markdown
    assert "is used" not in (tmp_path / "curve.svg").read_text()
    assert summary_lines(None, None) == ["No images were held back, so the effect of the run was not measured."]


def test_images_without_a_usable_object_are_not_called_measured(run: Run, tmp_path: Path) -> None:
    assert "changes.png" not in {path.name for path in write(tmp_path, run.part(0))}
    assert "No object of the held-back images could be measured." in text(tmp_path)


def test_one_object_has_no_interval_and_a_warning(run: Run, tmp_path: Path) -> None:
    from mobilesam.finetune.report import summary_lines

    one = run.part(1)
    assert len(write(tmp_path, one)) == 5
    assert [each["interval"] for each in document(tmp_path)["held_back"]["changes"]] == [None] * 9
    check_tables(text(tmp_path))
    assert "The figures rest on 1 object of 1 image, which is little" in text(tmp_path)
    assert "by category" not in text(tmp_path)
    lines = summary_lines(one.before, one.after)
    assert lines[0].split() == [
        "1",
        "object",
        "of",
        "1",
        "image",
        "before",
        "after",
        "difference",
        "95",
        "%",
        "interval",
    ]
    assert [line.rpartition("  ")[0].partition("  ")[0] for line in lines[1:6]] == [
        *("box: IoU", "one click: IoU", "one click: IoU of the best of three"),
        *("clicks to IoU 0.85", "clicks to IoU 0.90"),
    ]
    assert lines[-1] == "These are few objects (under 30); the result is uncertain."


def test_equal_evaluations_differ_in_nothing(run: Run, tmp_path: Path) -> None:
    paths = write(tmp_path, run._replace(after=run.before), steps={"planned": 40, "done": 20, "chosen": 0})
    assert "changes.png" not in {path.name for path in paths}
    changes = document(tmp_path)["held_back"]["changes"]
    assert all((each["difference"], each["interval"], each["worse"]) == (0, [0, 0], 0) for each in changes)
    assert "so the weights are those from before" in text(tmp_path)


def test_a_clear_gain_is_called_better_and_a_clear_loss_worse(run: Run) -> None:
    from mobilesam.finetune.report import summary_lines

    def shifted(by: float) -> Evaluation:
        records = json.loads(json.dumps(run.before.records))
        for place, instance in enumerate(instance for record in records for instance in record["instances"]):
            instance["box"]["iou"] += by + place / 1000
            instance["point"]["iou"] -= by + place / 1000
        return Evaluation(records, run.before.settings)

    expected = (
        "The new weights are better with a box and worse with one click. Keep the weights from before for one click."
    )
    assert expected in summary_lines(run.before, shifted(0.05))


def test_numbers_that_json_lacks_are_null(run: Run, tmp_path: Path) -> None:
    write(tmp_path, run, history=[*HISTORY, {"step": 21, "loss": math.nan}], seconds={"training": math.inf})
    assert document(tmp_path)["history"][-1] == {"step": 21, "loss": None}
    assert document(tmp_path)["seconds"] == {"training": None}


def test_names_that_no_file_can_hold_are_written(tmp_path: Path) -> None:
    skipped = [
        "half \ud83d.png: damaged",
        "two\nlines.png: damaged",
        *(f"{number}.png: damaged" for number in range(60)),
    ]
    write(tmp_path, None, history=LOSSES, skipped=skipped)
    assert document(tmp_path)["skipped"][:3] == skipped[:3]
    assert "- half ?.png: damaged\n- two?lines.png: damaged\n" in text(tmp_path)
    assert "- 12 more, see report.json\n" in text(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"output folder must be writable, got .*file \(.*\); choose another folder"):
        write(tmp_path / "file", None, history=LOSSES)
    if os.name == "posix" and os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o555)
        with pytest.raises(InputError, match=r"output folder must be writable, got .*locked \(Permission denied\)"):
            write(tmp_path / "locked", None, history=LOSSES)


def test_without_matplotlib_there_is_a_warning_and_no_plot(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, run)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        paths = write(tmp_path, run, force=True)
    assert [str(each.message).partition(",")[0] for each in caught] == ["drawing plots needs matplotlib"]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths} == {"report.json", "report.md"}
    assert "png)" not in text(tmp_path)
