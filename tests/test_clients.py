"""Programs of others, as PyPI and npm have them, with files and masks of this package; benchmarks/clients has more."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def run(module: str, *arguments: Path, packages: Path | None = None) -> str:
    """Return what a script of benchmarks/clients prints; it fails if a result differs."""
    folders = [packages] if packages else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *folders)))}
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.clients.{module}", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_samexporter_runs_exported_files(image: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path]
    subprocess.run([*pip, "samexporter==0.5.0", "loguru"], check=True)
    assert run("with_samexporter", image, packages=tmp_path).count("masks, at most") == 4


def test_onnxruntime_web_runs_exported_files(image: Path) -> None:
    assert "low_res_masks: largest difference" in run("onnxruntime_web", image)


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64") or sys.version_info >= (3, 13),
    reason="nvidia-pytriton is not built for this system",
)
def test_triton_serves_an_exported_repository(sam: Any, tmp_path: Path) -> None:
    """Triton itself, without its ONNX Runtime backend, with the client that the page shows."""
    from mobilesam.export import export_pack

    packages = tmp_path / "packages"  # with NumPy 1, for which Triton's Python backend was built
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages]
    client = ["tritonclient==2.73.0", "python-rapidjson", "geventhttpclient", "gevent", "greenlet", "zope.event"]
    subprocess.run(
        [*pip, "nvidia-pytriton==0.7.0", *client, "zope.interface", "brotli", "urllib3", "numpy==1.26.4"], check=True
    )
    models, photos, expected = (tmp_path / name for name in ("models", "photos", "expected.npz"))
    export_pack(sam, models, "triton")
    subprocess.run([sys.executable, "-m", "mobilesam", "samples", photos], check=True, capture_output=True)
    run("pack_expected", photos, expected)
    printed = run("packs_triton", models, photos, expected, packages=packages)
    assert printed.count("IoU 1.0000, 0 pixels differ") == 6
    assert "2 prompts in one request: logits (2, 4, 256, 256)" in printed
    assert "4 images at the same time" in printed
