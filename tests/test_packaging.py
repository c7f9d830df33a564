"""What is built and published: the files in the wheel and the source distribution, and the program they install."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import typer.main

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETTINGS = PROJECT["tool"]["setuptools"]
MOVED = {folder: name.replace(".", "/") for name, folder in SETTINGS["package-dir"].items()}
ABOUT_REPOSITORY = {"README.md", ".gitignore"}  # what lies in a package's folder and is not installed
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def sources() -> list[str]:
    """Return the files of the checkout that git has or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [name for name in listed if name and (ROOT / name).is_file()]


def installed_names() -> Iterator[str]:
    """Yield where each file of a package lies once it is installed."""
    for name in sources():
        folder, _, rest = name.partition("/")
        if folder in MOVED and rest and rest not in ABOUT_REPOSITORY:
            yield f"{MOVED[folder]}/{rest}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both distributions of a copy, as ``make build`` does: what lies about in the checkout has no part in it."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in sources():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(copy)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    about = {name for name in names if PurePosixPath(name).parts[0].endswith(".dist-info")}
    assert names - about == set(installed_names())
    assert {PurePosixPath(name).name for name in about} == {
        *("LICENSE", "NOTICE", "METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt")
    }
    graphs = {f"mobilesam/onnx/graphs/{role}.onnx" for role in ("encoder", "image", "score", "upscale")}
    assert names >= {*graphs, "mobilesam/py.typed", "mobilesam/webui/static/page.html"}
    assert names >= {"mobilesam/manifest/manifest.toml", "mobilesam/export/exporter.py"}
    assert wheel.stat().st_size < 2e6


def test_the_source_distribution_holds_what_the_wheel_is_built_of(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {PurePosixPath(*PurePosixPath(item.name).parts[1:]) for item in archive if item.isfile()}
    result = {str(name) for name in names if name.parts[0] not in ("mobilesam.egg-info", "PKG-INFO", "setup.cfg")}
    packages = {name for name in sources() if name.partition("/")[0] in MOVED and "/" in name}
    about = {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "NOTICE", "README.md", "pyproject.toml"}
    assert result == {name for name in packages if PurePosixPath(name).name not in ABOUT_REPOSITORY} | about


def test_the_metadata_says_what_is_needed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        about = email.message_from_bytes(archive.read(name))
    assert about["License-Expression"] == "Apache-2.0"
    assert about.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert about["Requires-Python"] == ">=3.11"
    base = [line for line in about.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert any(line.startswith("onnxruntime") for line in base)
    assert not any(re.match(r"torch|gradio|ray", line) for line in base)


def test_all_has_every_extra() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    # The converter of LiteRT is a large installation, for those who export for phones.
    assert set(re.findall(r"\w+", everything)) == {"mobilesam", *extras} - {"all", "litert", "coreml", "ncnn"}


@pytest.mark.weights
def test_the_installed_program_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    from mobilesam import weights

    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True)
    environment = os.environ | {"PYTHONPATH": str(site), "MOBILESAM_HOME": str(weights.folder())}

    def run(*command: str) -> str:
        options = {"cwd": elsewhere, "env": environment, "capture_output": True, "text": True}
        finished = subprocess.run([sys.executable, *command], **options)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    where = run("-c", "import mobilesam, mobilesam.export, mobilesam.webui; print(mobilesam.__file__)")
    assert Path(where.strip()).is_relative_to(site)
    assert "Usage: mobilesam" in run(str(site / "bin" / "mobilesam"), "--help")
    assert "ready to segment images" in run(str(site / "bin" / "mobilesam"), "doctor")


def test_the_space_installs_the_wheel_and_starts_the_page() -> None:
    from mobilesam import __version__
    from mobilesam.cli import build_app

    space = ROOT / "deploy" / "space"
    wheel = f"mobilesam-{__version__}-py3-none-any.whl"
    assert (space / "requirements.txt").read_text() == f"./{wheel}[webui]\n"
    assert wheel in (space / "README.md").read_text(encoding="utf-8")
    arguments = re.findall(r'"(--[\w-]+)"', (space / "app.py").read_text(encoding="utf-8"))
    app: Any = typer.main.get_command(build_app())
    options = {name for option in app.get_command(None, "webui").params for name in option.opts}
    assert set(arguments) <= options


def test_the_public_workflow_runs_what_the_gate_runs() -> None:
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (targets,) = re.findall(r"^targets=\((.*)\)$", gate, re.MULTILINE)
    runs = re.findall(r"^ +- run: \.ci/run ([\w -]+)$", WORKFLOW, re.MULTILINE)
    jobs = [target for run in runs for target in run.split()]
    # The tests build the documentation, too; the other ones would take the gate more than 40 minutes.
    more = ["docs", "test-without-torch", "test-minimum", "test-coreml", "test-ncnn"]
    assert sorted(jobs) == sorted([*targets.split(), *more])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^([\w-]+ )*{target}[: ]", makefile, re.MULTILINE) for target in jobs)


def test_the_workflow_tests_every_python_that_is_promised() -> None:
    prefix = "Programming Language :: Python :: "
    promised = [line.removeprefix(prefix) for line in PROJECT["project"]["classifiers"] if line.startswith(prefix)]
    (matrix,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    assert re.findall(r"[\d.]+", matrix) == promised
    assert PROJECT["project"]["requires-python"] == f">={promised[0]}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{promised[0].replace('.', '')}"


def test_every_action_is_pinned_to_a_commit() -> None:
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)", WORKFLOW + release)
    assert len(used) > 10
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)
