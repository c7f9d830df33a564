"""``mobilesam doctor`` tells the truth about this machine and works on a broken one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from mobilesam import weights
from mobilesam.cli.doctor import import_remedy


def run_without(
    folder: Path, broken: dict[str, str], *arguments: str, home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run doctor in a process where some packages are replaced by modules with the given code."""
    for name, code in broken.items():
        (folder / f"{name}.py").write_text(code)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "MOBILESAM_HOME": str(home or folder / "home")}
    command = [sys.executable, "-m", "mobilesam", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


@pytest.mark.torch
@pytest.mark.weights
def test_a_complete_machine_is_ready(command: Callable[..., Any]) -> None:
    outcome = command("doctor", "--json")
    report = json.loads(outcome.out)
    assert outcome.code == 0
    assert report["ready"] is True
    versions = {item["name"]: item["version"] for item in report["packages"] if not item["problem"]}
    assert versions["numpy"] == version("numpy")
    assert versions["torch"] == version("torch")
    assert "cpu" in report["devices"]
    assert "CPUExecutionProvider" in report["providers"]
    assert report["threads"]["processors"] >= 1
    assert Path(report["weights"]["path"]).is_file()
    assert report["weights"]["problem"] == ""


@pytest.mark.weights
def test_torch_is_not_needed(tmp_path: Path) -> None:
    missing = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
    finished = run_without(tmp_path, {"torch": missing}, home=weights.folder())
    assert (finished.returncode, finished.stderr) == (0, "")
    line = "optional  torch           for running the network on a GPU, training: not installed; run: pip install"
    assert line in finished.stdout


@pytest.mark.torch
@pytest.mark.weights
def test_the_text_has_a_line_for_each_thing(command: Callable[..., Any]) -> None:
    outcome = command("doctor")
    assert outcome.code == 0
    assert f"ok        numpy           {version('numpy')}\n" in outcome.out
    assert ", verified\n" in outcome.out
    assert outcome.out.endswith("ready to segment images\n")


def test_missing_and_broken_packages_and_weights_are_named_with_their_remedies(tmp_path: Path) -> None:
    broken = {
        "torch": "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')",
        "cv2": "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')",
        "pycocotools": "raise OSError('wrong ELF class')",
    }
    finished = run_without(tmp_path, broken, "--json")
    assert (finished.returncode, finished.stderr) == (1, "")
    report = json.loads(finished.stdout)
    assert report["ready"] is False
    problems = {item["name"]: (item["problem"], item["remedy"]) for item in report["packages"]}
    assert problems["torch"] == ("not installed", 'run: pip install "torch>=2.7"')
    assert problems["opencv-python"][0].startswith("does not import: libGL.so.1: cannot open")
    assert problems["opencv-python"][1].startswith(
        "OpenCV needs system libraries; run: apt-get install libgl1 libglib2.0"
    )
    assert problems["pycocotools"][0] == "does not import: wrong ELF class"
    assert problems["numpy"] == ("", "")
    assert report["weights"]["folder"] == str(tmp_path / "home")
    assert report["weights"]["problem"] == "not fetched yet"
    assert report["weights"]["remedy"] == "run: mobilesam weights fetch"
    assert report["devices"] == ["cpu"]


def test_the_text_of_a_broken_machine(tmp_path: Path) -> None:
    missing = "raise ModuleNotFoundError(\"No module named '{0}'\", name='{0}')"
    broken = {name: missing.format(name) for name in ("safetensors", "torch")}
    finished = run_without(tmp_path, broken)
    assert (finished.returncode, finished.stderr) == (1, "")
    assert "missing   safetensors     for reading weights: not installed; run: pip install" in finished.stdout
    assert finished.stdout.endswith("not ready: see the lines marked missing\n")


def test_damaged_weights_are_not_ready(tmp_path: Path, command: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path))
    (tmp_path / "mobile_sam.safetensors").write_bytes(b"half a file")
    outcome = command("doctor", "--json")
    report = json.loads(outcome.out)
    assert outcome.code == 1
    assert "mobile_sam.safetensors has 11 bytes, but the manifest lists " in report["weights"]["problem"]


def test_the_remedy_of_a_package_names_its_extra() -> None:
    assert import_remedy(ImportError("x", name="gradio")) == 'run: pip install "gradio<7,>=6.0"'
    assert import_remedy(ImportError("x", name="PIL._imaging")) == "run: pip install --force-reinstall pillow"
