"""Doctor's versions are those of the metadata, whatever a module says of itself."""

from __future__ import annotations

import _ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TORCH = """
__version__ = {version!r}
def get_num_threads(): return 1
class cuda:
    device_count = staticmethod(lambda: 0)
    is_available = staticmethod(lambda: False)
class backends:
    class mps:
        is_available = staticmethod(lambda: False)
class device:
    def __init__(self, type): self.type = type
"""


def examine(folder: Path) -> dict[str, dict[str, Any]]:
    """Return doctor's packages in a process that finds the packages of a folder first."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "mobilesam", "doctor", "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert finished.stderr == ""
    return {item["name"]: item for item in json.loads(finished.stdout)["packages"]}


def install(folder: Path, name: str, code: str, version: str | None) -> None:
    """Put a package into a folder, with metadata if it has a version."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)
    if version is not None:
        about = folder / f"{name}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.parametrize(
    ("module", "metadata", "shown"),
    [
        ("2.14.1+cu130", "2.14.1", "2.14.1"),  # PyPI's wheel for Linux
        ("2.14.1+cpu", "2.14.1+cpu", "2.14.1+cpu"),  # the wheel of PyTorch's own index
        ("2.14.1", "2.14.1", "2.14.1"),  # PyPI's wheel for macOS
    ],
)
def test_the_version_of_torch_is_that_of_its_metadata(tmp_path: Path, module: str, metadata: str, shown: str) -> None:
    install(tmp_path, "torch", TORCH.format(version=module), metadata)
    install(tmp_path, "torchvision", "raise RuntimeError('operator torchvision::nms does not exist')", "0.28.0")
    result = examine(tmp_path)
    assert (result["torch"]["version"], result["torch"]["problem"]) == (shown, "")
    assert result["torchvision"]["problem"] == "does not import: operator torchvision::nms does not exist"
    assert result["torchvision"]["remedy"] == (
        f"it is optional, and must be built for torch {shown}; install both together, with the command on "
        "https://pytorch.org/get-started/locally/"
    )


def test_a_package_without_metadata_has_the_version_of_its_module(tmp_path: Path) -> None:
    """The module of a package that doctor imports, of one that it does not, and of one that tells no version."""
    for name, code in (("torchvision", "__version__ = '9.9'"), ("onnxscript", "__version__ = '8.8'"), ("ray", "")):
        install(tmp_path, name, code, None)
    hide = (
        "import importlib.metadata as m; real = m.version\n"
        "def version(name):\n"
        "    if name in ('torchvision', 'onnxscript', 'ray'): raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
    )
    (tmp_path / "sitecustomize.py").write_text(hide)
    result = examine(tmp_path)
    assert {name: result[name]["version"] for name in ("torchvision", "onnxscript", "ray")} == {
        "torchvision": "9.9",
        "onnxscript": "8.8",
        "ray": "of unknown version",
    }
    assert not any(result[name]["problem"] for name in ("torchvision", "onnxscript", "ray"))


@pytest.mark.skipif(sys.platform != "linux" or Path("/dev/kfd").exists(), reason="drivers are looked up on Linux")
@pytest.mark.parametrize(
    ("version", "driver", "imports_torch"),
    [("2.14.1+cpu", True, False), ("2.14.1", True, True), (None, True, True), ("2.14.1", False, False)],
    ids=["labeled", "not labeled", "no metadata", "no driver"],
)
def test_torch_is_queried_for_accelerators_unless_there_can_be_none(
    tmp_path: Path, version: str | None, driver: bool, imports_torch: bool
) -> None:
    install(tmp_path, "torch", TORCH.format(version="2.14.1+cpu"), version)
    code = (
        "import importlib.metadata as m, sys\n"
        f"if {version is None}:\n"
        "    def missing(name): raise m.PackageNotFoundError(name)\n"
        "    m.version = missing\n"
        "from mobilesam import loading\n"
        "print(loading.onnx_is_faster('auto'), 'torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "LD_LIBRARY_PATH": str(tmp_path)}
    if driver:
        (tmp_path / "libcuda.so.1").symlink_to(_ctypes.__file__)
    else:
        (tmp_path / "libcuda.so.1").touch()  # not a library, and found before a real driver
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert finished.stdout.split() == ["True", str(imports_torch)]
