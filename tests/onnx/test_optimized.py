"""Graphs that ONNX Runtime has optimized, saved beside the weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilesam import SamPredictor, weights
from mobilesam.onnx import OnnxSam, optimized, templates
from mobilesam.weights import checkpoint
from tests.photos import photo

pytestmark = pytest.mark.weights


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default checkpoint, with an empty weights folder."""
    path = weights.ensure()
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path / "home"))
    return path


def results(model: OnnxSam) -> list[Any]:
    """Return the embedding of an image, and the masks, predicted IoUs and logits of a point."""
    predictor = SamPredictor(model)
    predictor.set_image(photo("china"))
    prediction = predictor.predict(np.array([[300, 200]]), np.array([1]), return_logits=True)
    return [predictor.get_image_embedding(), *prediction]


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != ".lock"}


def test_optimized_graphs_give_the_results_of_the_graphs_that_they_were_made_of(source: Path) -> None:
    made = templates.cpu_files(source)
    assert made.are_optimized
    assert templates.cpu_files(source) == made
    bound = OnnxSam.from_files(templates.bound_files(source))
    model = OnnxSam.from_checkpoint(source)
    assert model.weights_id == bound.weights_id
    for actual, expected in zip(results(model), results(bound), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", ["encoder.onnx", "score.onnx.data", "sha256.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
def test_a_damaged_file_is_written_again(source: Path, name: str, damage: str) -> None:
    first = templates.cpu_files(source)
    folder = Path(str(first.files[0])).parent
    path = folder / name
    content, others = path.read_bytes(), files_below(folder)
    if damage == "removed":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] if damage == "cut" else content[:middle] + b"?" + content[middle + 1 :])
    assert templates.cpu_files(source) == first
    # Whole again by its digests; old releases write the same graph with other bytes each time.
    assert optimized.find(folder.parent) == list(first.files)
    assert files_below(folder) == others


def test_files_of_other_versions_are_not_used_and_the_oldest_are_removed(source: Path) -> None:
    own = Path(str(templates.cpu_files(source).files[0])).parent
    for number in range(3):
        shutil.copytree(own, own.parent / f"optimized-{number}")
    for path in own.glob("*.onnx"):
        path.unlink()
    made = templates.cpu_files(source)
    assert {Path(str(path)).parent for path in made.files} == {own}
    left = {path.name for path in own.parent.glob("optimized-*")}
    assert own.name in left
    assert len(left) == 2


def test_graphs_are_optimized_in_memory_where_they_cannot_be_saved(source: Path) -> None:
    own = Path(str(templates.cpu_files(source).files[0])).parent
    shutil.rmtree(own)
    own.touch()  # nobody can create a folder of this name, not even root
    assert templates.cpu_files(source) == (templates.bound_files(source), False)
    assert OnnxSam.from_checkpoint(source).capabilities.masks_per_prompt == 4


def test_two_processes_at_once_write_the_same_files_once(source: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from mobilesam.onnx import templates\n"
        f"print(templates.cpu_files(Path({str(source)!r})))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert printed[0] == printed[1]
    assert "are_optimized=True" in printed[0]
    there = [path for path in (tmp_path / "home").rglob("*") if path.is_file() and path.name != ".lock"]
    assert sorted(templates.saved_files()) == sorted(there)
    assert not [path for path in there if ".partial" in str(path)]


def test_unfinished_files_of_a_killed_process_are_removed(source: Path) -> None:
    own = Path(str(templates.cpu_files(source).files[0])).parent
    (own / "tmpabc.partial").mkdir()
    (own / "tmpabc.partial" / "encoder.onnx").write_bytes(b"half")
    assert own / "tmpabc.partial" / "encoder.onnx" in templates.saved_files()
    (own / "sha256.json").unlink()
    templates.cpu_files(source)
    assert not list(own.glob("*.partial"))


def test_files_that_are_removed_before_they_are_opened_are_not_missed(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by ``mobilesam weights clean`` in another process."""
    find = optimized.find

    def find_and_remove(folder: Path) -> list[Path]:
        paths = find(folder)
        shutil.rmtree(folder)
        return paths

    templates.cpu_files(source)
    monkeypatch.setattr(optimized, "find", find_and_remove)
    assert OnnxSam.from_checkpoint(source).capabilities.masks_per_prompt == 4


@pytest.mark.torch
def test_a_checkpoint_of_torch_is_read_with_torch_once(source: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.pt"
    state = {key: value.copy() for key, value in checkpoint.read(source).state.items()}
    state["mask_decoder.iou_token.weight"] += 1
    checkpoint.write(own, state)
    code = f"import sys, mobilesam; print(type(mobilesam.load({str(own)!r})).__name__, 'torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    assert runs == [["OnnxSam", "True"], ["OnnxSam", "False"]]
