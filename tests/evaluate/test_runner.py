import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.bench.timing import Stopwatch
from mobilesam.errors import InputError
from mobilesam.evaluate import Settings, evaluate, load_coco
from mobilesam.evaluate.coco import Dataset
from mobilesam.evaluate.journal import Journal, read_journal
from mobilesam.evaluate.runner import parse_prompts
from tests.evaluate.scenes import BrightnessPredictor, compressed, disc, write_coco

HW = (60, 80)
LEFT, RIGHT = disc(HW, (20, 30), 12), disc(HW, (60, 30), 8)
SCENE = np.repeat(np.where(LEFT | RIGHT, 230, 20).astype(np.uint8)[..., None], 3, axis=2)
ALL = Settings(("box", "point", "clicks"), max_clicks=4)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three images of two discs; the second disc has a bbox that cuts it in half."""
    names = ("a.png", "b.png", "c.png")
    annotations = [
        {"image_id": name, "segmentation": compressed(mask)} | ({"bbox": [60, 22, 10, 20]} if mask is RIGHT else {})
        for name in names
        for mask in (LEFT, RIGHT)
    ]
    domains = {"a.png": "day", "b.png": "day", "c.png": "night"}
    path = write_coco(tmp_path / "data", dict.fromkeys(names, SCENE), annotations, domains)
    return load_coco(path, path.parent)


def without_times(records: list[dict]) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def test_each_prompt_is_run_and_compared(dataset: Dataset) -> None:
    evaluation = evaluate(BrightnessPredictor(), dataset, ALL)
    left, right = evaluation.records[0]["instances"]
    assert left["box"]["iou"] == 1
    assert left["box"]["box"] == [8, 18, 33, 43]
    assert right["box"]["iou"] == pytest.approx((RIGHT[22:, 60:70]).sum() / RIGHT.sum(), abs=1e-6)
    assert left["point"]["points"] == [[20, 30, 1]]
    both = LEFT.sum() / (LEFT | RIGHT).sum()
    assert left["point"]["chosen"] == 2
    assert left["point"]["iou"] == pytest.approx(both, abs=1e-6)
    assert left["point"]["ious"] == [None, 1.0, pytest.approx(both, abs=1e-6), pytest.approx(1 / LEFT.sum(), abs=1e-6)]
    assert left["point"]["predicted"] == [None, 0.7, 0.9, 0.1]
    assert left["clicks"]["ious"] == [pytest.approx(both, abs=1e-6), 1.0]
    assert left["clicks"]["points"] == [[20, 30, 1], [60, 30, 0]]
    assert left["clicks"]["rle"] == compressed(LEFT)["counts"]


def test_an_image_is_encoded_once_and_the_first_click_is_shared(dataset: Dataset) -> None:
    predictor = BrightnessPredictor()
    evaluate(predictor, dataset, ALL)
    assert predictor.images == 3
    assert len(predictor.prompts) == 3 * 2 * 3  # box, point, second click
    second = predictor.prompts[2]
    assert second["mask_input"].shape == (1, 256, 256)
    assert second["labels"].tolist() == [1, 0]


def test_all_masks_are_scored_on_request_and_do_not_change_the_result(dataset: Dataset) -> None:
    plain, full = (evaluate(BrightnessPredictor(), dataset, Settings(all_masks=wanted)) for wanted in (False, True))
    one, other = (evaluation.records[0]["instances"][0] for evaluation in (plain, full))
    assert one["box"]["ious"] == [1.0, None, None, None]
    assert other["box"]["ious"][:2] == [1.0, 1.0]
    assert other["point"]["ious"][0] == 1.0
    for kind in ("box", "point"):
        assert {**other[kind], "ious": 0, "predicted": 0} == {**one[kind], "ious": 0, "predicted": 0}
    assert len(full.records[0]["seconds"]["predict"]) == len(plain.records[0]["seconds"]["predict"]) == 4


def test_the_summary_averages_over_instances(dataset: Dataset) -> None:
    evaluation = evaluate(BrightnessPredictor(), dataset, ALL)
    halved = RIGHT[22:, 60:70].sum() / RIGHT.sum()
    box = evaluation.summary["prompts"]["box"]
    assert evaluation.mean_iou("box") == pytest.approx((1 + halved) / 2, abs=1e-6)
    assert box["by_size"]["small"] == {"instances": 6, "mean_iou": evaluation.mean_iou("box")}
    assert box["by_domain"]["night"]["instances"] == 2
    assert box["calibration"]["mean_predicted"] == pytest.approx(0.8)
    point = evaluation.summary["prompts"]["point"]
    assert point["oracle_iou"] == 1
    assert point["mean_iou"] == pytest.approx(0.5, abs=1e-6)
    clicks = evaluation.summary["prompts"]["clicks"]
    assert clicks["noc"] == {"85": 2, "90": 2}
    assert clicks["iou_by_click"] == [pytest.approx(0.5, abs=1e-6), 1, 1, 1]
    with pytest.raises(InputError, match="prompt must have been measured on an instance, got 'point'"):
        evaluate(BrightnessPredictor(), dataset, Settings(("box",))).mean_iou("point")


def test_unusable_images_and_annotations_are_listed_and_left_out(tmp_path: Path) -> None:
    names = ("broken.png", "good.png", "missing.png", "turned.png")
    annotations = [{"image_id": name, "segmentation": compressed(LEFT)} for name in names]
    annotations.append({"image_id": "good.png", "segmentation": [[900, 900, 950, 900, 950, 950]]})
    path = write_coco(tmp_path, dict.fromkeys(names, SCENE), annotations)
    (tmp_path / "broken.png").write_bytes((tmp_path / "broken.png").read_bytes()[:60])
    (tmp_path / "missing.png").unlink()
    Image.fromarray(np.ascontiguousarray(np.rot90(SCENE))).save(tmp_path / "turned.png")
    summary = evaluate(BrightnessPredictor(), load_coco(path, tmp_path)).summary
    assert summary["instances"] == 1
    assert summary["prompts"]["box"]["mean_iou"] == 1
    reasons = {entry["file_name"]: entry["reason"] for entry in summary["unreadable"]}
    assert list(reasons) == ["broken.png", "missing.png", "turned.png"]
    assert "image must be" in reasons["broken.png"]
    assert "image must be an existing file" in reasons["missing.png"]
    assert reasons["turned.png"] == "the image is 60 x 80, its annotations are for 80 x 60"
    assert summary["skipped"] == [
        {"file_name": "good.png", "annotation_id": 5, "reason": "the mask has no pixel inside the 80 x 60 frame"}
    ]


class Stop(Exception):
    """A crash while an image is encoded."""


class Failing(BrightnessPredictor):
    def set_image(self, image: np.ndarray) -> None:
        super().set_image(image)
        if self.images == 2:
            raise Stop


@pytest.mark.parametrize("torn", [b"", b'{"file_name": "b.png", "inst'])
def test_a_resumed_run_has_the_result_of_one_that_was_not_stopped(
    dataset: Dataset, tmp_path: Path, torn: bytes
) -> None:
    path = tmp_path / "out" / "journal.jsonl"
    with pytest.raises(Stop):
        evaluate(Failing(), dataset, ALL, journal=Journal.open(path, {"settings": 1}))
    assert len(read_journal(path)[1]) == 1
    path.write_bytes(path.read_bytes() + torn)

    again = BrightnessPredictor()
    resumed = evaluate(again, dataset, ALL, journal=Journal.open(path, {"settings": 1}, resume=True))
    assert again.images == 2
    whole = evaluate(BrightnessPredictor(), dataset, ALL, journal=Journal.open(tmp_path / "whole", {"settings": 1}))
    assert without_times(resumed.records) == without_times(whole.records)
    assert resumed.summary["prompts"] == whole.summary["prompts"]
    assert without_times(read_journal(path)[1]) == without_times(read_journal(tmp_path / "whole")[1])


def test_a_journal_is_not_overwritten_or_mixed(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal.open(path, {"model": "one"})
    with pytest.raises(InputError, match=r"output file must not exist yet, got .*; continue with --resume"):
        Journal.open(path, {"model": "one"})
    with pytest.raises(
        InputError, match=r"cannot be resumed: its model is 'one', and that of this run is 'two'; choose"
    ):
        Journal.open(path, {"model": "two"}, resume=True)
    Journal.open(path, {"model": "two"}, force=True)
    assert read_journal(path) == ({"model": "two"}, [])
    path.write_text("a story\n")
    with pytest.raises(InputError, match="journal must be a file that mobilesam eval wrote"):
        Journal.open(path, {"model": "two"}, resume=True)


def test_records_are_plain_json(dataset: Dataset) -> None:
    evaluation = evaluate(BrightnessPredictor(), dataset, ALL)
    assert json.loads(json.dumps([evaluation.records, evaluation.summary])) == [evaluation.records, evaluation.summary]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("boxes", "--prompts must be one of box, point, clicks, got 'boxes'; did you mean 'box'?"),
        ("box,", "--prompts must be one of box, point, clicks, got ''"),
        ("box,box", "prompts must name each kind once"),
    ],
)
def test_invalid_settings_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        Settings(parse_prompts(text))
    assert message in str(error.value)
    with pytest.raises(InputError, match="max_clicks must be at least 1, got 0"):
        Settings(max_clicks=0)


def test_a_stage_inside_another_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 4.0, 8.0, 10.0, 20.0, 21.0])
    monkeypatch.setattr("mobilesam.bench.timing.time.perf_counter", lambda: next(clock))
    watch = Stopwatch()
    with watch.measure("upsample"):  # 0 to 10
        with watch.measure("decode"):  # 1 to 3
            pass
        with watch.measure("decode"):  # 4 to 8
            pass
    with watch.paused(), watch.measure("decode"):
        pass
    with watch.measure("upsample"):  # 20 to 21
        pass
    assert watch.drain() == {"decode": [6.0], "upsample": [4.0, 1.0]}
    assert watch.drain() == {}
