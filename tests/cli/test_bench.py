"""``mobilesam bench``: measure, write, compare."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilesam.bench import bench_image, compare
from mobilesam.bench.compare import are_of_different_machines

Command = Callable[..., Any]
TORCH = ("--backend", "torch", "--device", "cpu")


@pytest.mark.torch
@pytest.mark.weights
@pytest.mark.usefixtures("models_of_its_own")
def test_every_stage_is_measured_and_compared(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    outcome = command("bench", *TORCH, "--repeats", 2, "--warmup", 1, "--threads", 2, "--out", path)
    assert outcome.code == 0
    assert outcome.out.startswith("1024 x 768 pixels, TorchSam on cpu, ms\n")
    assert {each.name for each in tmp_path.iterdir()} >= {"before.json", "before.png", "before.svg"}
    document = json.loads(path.read_text())
    assert list(document["stages"]) == ["read", "resize", "encode", "first decode", "decode", "upsample"]
    for stage, times in document["stages"].items():
        assert len(times["values"]) == (4 if stage == "upsample" else 2)
        assert times["q1"] <= times["median"] <= times["q3"]
    assert document["stages"]["encode"]["median"] > document["stages"]["decode"]["median"] > 0
    assert document["model"]["threads"] == document["environment"]["torch_threads"] == 2
    assert document["environment"]["versions"]["numpy"]

    refused = command("bench", "--out", path)
    assert refused.code == 1
    assert "output file must not exist yet" in refused.err

    document["stages"]["encode"]["median"] /= 2
    document["model"]["threads"] = 4
    (tmp_path / "after.json").write_text(json.dumps(document))
    compared = command("bench", "--compare", path, tmp_path / "after.json")
    assert compared.code == 0
    faster = {line.split()[0]: line.split()[-1] for line in compared.out.splitlines()[1:]}
    assert faster["encode"] == "2.00x"
    assert faster["read"] == "1.00x"
    assert "differs: threads: 2 -> 4" in compared.out
    as_json = json.loads(command("bench", "--compare", path, tmp_path / "after.json", "--json").out)
    assert as_json["differences"] == ["threads: 2 -> 4"]
    assert [row["ratio"] for row in as_json["stages"]] == [1, 1, 2, 1, 1, 1]
    assert not as_json["other_machine"]

    assert outcome.out.splitlines()[-1].startswith("GFLOP/s of large matrix products: ")
    assert all(1 < value < 1e5 for value in document["gemm_gflops"].values())
    document["gemm_gflops"] = {threads: 2 * value for threads, value in document["gemm_gflops"].items()}
    (tmp_path / "after.json").write_text(json.dumps(document))
    elsewhere = command("bench", "--compare", path, tmp_path / "after.json")
    assert elsewhere.out.splitlines()[-1].startswith("The machines or their load differ, so the ratios do not")


@pytest.mark.weights
def test_without_matplotlib_the_json_is_written_and_one_sentence_says_why_there_is_no_plot(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path = tmp_path / "bench.json"
    outcome = command("bench", "--backend", "onnx", "--repeats", 1, "--warmup", 0, "--out", path)
    assert outcome.code == 0
    assert (
        'warning: drawing plots needs matplotlib, which is not installed; run: pip install "matplotlib>=' in outcome.err
    )
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_benchmark_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    for name in ("other.json", "none.json"):
        outcome = command("bench", "--compare", tmp_path / name, tmp_path / name)
        assert outcome.code == 1
        assert f"{name} must be one that mobilesam bench wrote" in outcome.err
    mixed = command("bench", "--compare", "a", "b", "--out", "c")
    assert mixed.code == 2
    assert "--compare must stand alone" in mixed.err


def test_runs_of_different_processors_are_of_different_machines() -> None:
    here: dict[str, Any] = {"environment": {"processor": "A", "instructions": ["avx2"], "caches": None, "cores": 2}}
    there: dict[str, Any] = {"environment": {**here["environment"], "instructions": ["avx2", "amx_int8"]}}
    assert are_of_different_machines(here, there)
    assert not are_of_different_machines(here, here)
    assert not are_of_different_machines({**here, "gemm_gflops": {"1": 100.0}}, here)


def test_only_stages_in_both_are_compared() -> None:
    before = {"stages": {"encode": {"median": 1.0}, "everything": {"median": 9.0}}}
    after = {"stages": {"encode": {"median": 0.25}}}
    assert compare(before, after) == [{"stage": "encode", "before": 1.0, "after": 0.25, "ratio": 4.0}]


def test_the_sample_photo_is_the_same_every_time_at_any_size() -> None:
    assert (bench_image((300, 400)) == bench_image((300, 400))).all()
    assert bench_image((5, 7)).shape == (5, 7, 3)
    assert bench_image((700, 900)).std() > 20
