"""The documentation's site: its notebooks run, it describes all there is, and it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from docs.hooks import notebooks
from tests.documents import all_commands

NAMES = [path.stem for path in notebooks.NOTEBOOKS]
pytestmark = [pytest.mark.torch, pytest.mark.weights, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation's site, built as ``make docs`` does, which runs the notebooks."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    finished = subprocess.run(command, cwd=notebooks.ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    return folder


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|source|iframe)[^>]* src=\"?([^\" >]+)", html)
        loaded += [tag for tag in re.findall(r"<link[^>]*>", html) if "canonical" not in tag]
        assert not [place for place in loaded if "//" in place], page
    assert not [sheet for sheet in site.rglob("*.css") if re.search(r"url\(\"?(https?:)?//", sheet.read_text("utf-8"))]


def test_the_reference_describes_every_command_and_every_public_name(site: Path) -> None:
    import mobilesam

    commands_page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for command in all_commands():
        assert f"{command.name}</h" in re.sub(r"<a class=\"?headerlink.*?</a>", "", commands_page), command.name
    api = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("api*.html"))
    for name in set(mobilesam.__all__) - {"__version__"}:
        assert re.search(rf"id=\"?mobilesam[\w.]*\.{name}[\" >]", api), name
    assert ":func:" not in api
    assert ":class:" not in api


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_from_top_to_bottom(site: Path, name: str) -> None:
    notebook = nbformat.read(site / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    shown = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) >= 2
    for photo in shown:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(photo))))
        assert min(pixels.shape[:2]) > 100
        assert pixels.std() > 20
