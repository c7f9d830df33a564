"""Programs of others, as PyPI and npm have them, with files and masks of this package; benchmarks/clients has more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.photos import photo

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.weights, pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clients") / "coffee.png"
    Image.fromarray(photo("coffee")).save(path)
    return path


def run(module: str, image: Path, *folders: Path) -> str:
    """Return what a script of benchmarks/clients prints for an image; it fails if a result differs."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *folders)))}
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.clients.{module}", image]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_samexporter_runs_exported_files(image: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path]
    subprocess.run([*pip, "samexporter==0.5.0", "loguru"], check=True)
    assert run("with_samexporter", image, tmp_path).count("masks, at most") == 4


def test_onnxruntime_web_runs_exported_files(image: Path) -> None:
    assert "low_res_masks: largest difference" in run("onnxruntime_web", image)
