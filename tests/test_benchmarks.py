"""The scripts in benchmarks/, and the tables in docs/ that are made of their results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import render
from benchmarks.batch_photos import make_photos
from benchmarks.packages import OURS, OURS_ONNX, REFERENCE, versions
from benchmarks.process_tree import memory
from benchmarks.side_by_side import compare
from benchmarks.worker import Process
from mobilesam.bench import write_sample
from mobilesam.errors import InputError
from mobilesam.image.read import image_digest, read_image
from mobilesam.prompts.file import read_prompts

RESULTS = render.read_results()


@pytest.mark.parametrize("name", render.DOCUMENTS)
def test_the_tables_in_the_documents_are_those_of_the_results(name: str) -> None:
    text = (render.ROOT / name).read_text(encoding="utf-8")
    assert render.render(text, RESULTS) == text, "run python -m benchmarks.render"
    assert len(render.BLOCK.findall(text)) == text.count("<!-- table:") > 0


@pytest.mark.torch
def test_the_operations_of_the_network_are_those_that_pytorch_counts() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.performance_tables import GFLOP
    from mobilesam.config import VARIANTS
    from mobilesam.modeling import Sam

    sam = Sam(VARIANTS["vit_t"]).eval()
    encoder, decoder = sam.prompt_encoder, sam.mask_decoder
    counted = {}
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            embedding = sam.image_encoder(torch.zeros(1, 3, 1024, 1024))
        counted["encode"] = counter.get_total_flops()
        image = decoder.prepare(embedding, encoder.get_dense_pe(), encoder.embed_no_mask())
        sparse = encoder.embed_points(torch.zeros(1, 2, 2), torch.tensor([[1, -1]]))
        with FlopCounterMode(display=False) as counter:
            scores = decoder.score(image, sparse)
        counted["score"] = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            decoder.upscale(scores.kernels, scores.image_tokens.unflatten(1, (64, 64)), 0, 4)
        counted["upscale"] = counter.get_total_flops()
    assert {name: flops / 1e9 for name, flops in counted.items()} == pytest.approx(GFLOP, rel=0.01)


def test_every_table_is_in_a_document() -> None:
    texts = "".join((render.ROOT / name).read_text(encoding="utf-8") for name in render.DOCUMENTS)
    assert [name for name in render.TABLES if f"<!-- table: {name} -->" not in texts] == []


def test_a_changed_result_changes_the_document(tmp_path: Path) -> None:
    for path in render.RESULTS.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    changed = json.loads((tmp_path / "eval_mobilesam.json").read_text())
    changed["summary"]["prompts"]["box"]["mean_iou"] = 0.1234
    (tmp_path / "eval_mobilesam.json").write_text(json.dumps(changed))
    text = (render.ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    again = render.render(text, render.read_results(tmp_path))
    assert "| mobilesam box | 560 | 0.1234 |" in again
    assert "| mobilesam box | 560 | 0.1234 |" not in text


def test_the_published_accuracy_is_that_of_the_reference() -> None:
    ours, theirs = (RESULTS[name]["summary"] for name in ("eval_mobilesam", "eval_reference"))
    assert ours["instances"] == theirs["instances"] == 560
    for prompt in ("box", "point"):
        assert ours["prompts"][prompt]["mean_iou"] == pytest.approx(theirs["prompts"][prompt]["mean_iou"], abs=0.001)


def test_no_result_names_a_path_of_the_machine_that_made_it() -> None:
    for path in render.RESULTS.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert str(Path.home()) not in text or str(Path.home()) == "/"
        assert "/tmp/" not in text


class Scripted(Process):
    """A worker whose tasks take the given seconds."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds = iter(seconds)

    def run(self, task: str, **arguments: object) -> dict[str, float]:
        return {"seconds": next(self.seconds)}


def test_ratios_are_taken_turn_by_turn_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.side_by_side.PAUSE", 0)
    processes = {
        OURS: Scripted([9, 1, 2, 4]),
        OURS_ONNX: Scripted([9, 1, 1, 1]),
        REFERENCE: Scripted([9, 3, 4, 20]),
    }
    result = compare(processes, "click", {}, 3)
    assert result["turns"] == [[1, 1, 3], [2, 1, 4], [4, 1, 20]]
    assert result["reference"] == 4
    assert result["packages"] == {
        OURS: {"seconds": 2, "ratio": 3, "ratio_q1": 2.5, "ratio_q3": 4},
        OURS_ONNX: {"seconds": 1, "ratio": 4, "ratio_q1": 3.5, "ratio_q3": 12},
    }


@pytest.mark.weights
@pytest.mark.parametrize("package", [pytest.param(OURS, marks=pytest.mark.torch), OURS_ONNX])
def test_a_worker_runs_every_task_of_this_package(tmp_path: Path, package: str) -> None:
    from mobilesam import weights

    write_sample(tmp_path / "sample.png", (300, 400))
    with Process(Path(sys.executable), package, weights.ensure(), 2) as process:
        process.run("open", photo=str(tmp_path / "sample.png"))
        responses = [
            process.run("set_image"),
            process.run("click", x=0.5, y=0.5),
            process.run("refine", x=0.4, y=0.5),
            process.run("boxes", count=3),
            process.run("points", count=3),
        ]
    assert all(response["seconds"] > 0 for response in responses)
    peaks = [response["peak_bytes"] for response in responses]
    assert peaks == sorted(peaks)
    assert 100e6 < peaks[0] < 2e9


def test_versions_are_those_of_the_given_interpreter() -> None:
    import numpy as np

    assert versions(Path(sys.executable), ["numpy", "no-such-package"]) == {
        "numpy": np.__version__,
        "no-such-package": None,
    }


def test_photos_for_a_batch_differ_and_the_broken_ones_are_broken(photo, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(photo("rocket.jpg"), tmp_path / "photos")
    broken = make_photos(tmp_path / "photos", tmp_path / "made", count=9, bad=5)
    sound = sorted(path for path in (tmp_path / "made").iterdir() if path.name not in broken)
    assert (len(sound), len(broken)) == (9, 5)
    assert len({image_digest(read_image(path)) for path in sound}) == 9
    prompts = read_prompts(tmp_path / "prompts.json")
    for name in broken:
        assert prompts.for_image(tmp_path / "made" / name)
        with pytest.raises(InputError):
            read_image(tmp_path / "made" / name)


def test_memory_is_that_of_the_whole_tree() -> None:
    before = memory(os.getpid())
    code = "import sys; held = bytearray(b'x') * 300_000_000; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert memory(os.getpid()) > before + 150_000_000, "this process itself may release some meanwhile"
        process.communicate()
