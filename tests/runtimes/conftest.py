"""These tests run with ``make test-runtimes``, each in an environment of its own, but for OpenVINO."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.runtimes import exports

_CONVERTERS = {"litert": "litert_torch", "coreml": "coremltools", "ncnn": "pnnx", "openvino": "openvino"}
_MISSING = [name for name, module in _CONVERTERS.items() if not importlib.util.find_spec(module)]
collect_ignore_glob = [f"test_{name}.py" for name in _MISSING]


@pytest.fixture(scope="module")
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Both exports to the RUNTIME of a module."""
    runtime = request.module.RUNTIME
    return exports.export_all(runtime, tmp_path_factory.mktemp(runtime))


@pytest.fixture(scope="module")
def exported(folders: tuple[Path, Path]) -> Path:
    return folders[0]


@pytest.fixture(scope="module")
def small(folders: tuple[Path, Path]) -> Path:
    """Eight bits, two points, and frames of a camera."""
    return folders[1]
