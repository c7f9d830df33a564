"""Notebooks as pages: each is run from top to bottom, and its text, code and outputs are written as Markdown.

An image that cell ``box`` of ``predictor_example.ipynb`` shows is ``notebooks/predictor_example-box.png``, so that
other pages can show it, too. The notebook with its outputs lies beside its page.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
_SECONDS_A_CELL = 600
_QUIET = ["--log-level=ERROR"]  # the kernel warns that its sockets on this machine are not encrypted


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page, its images and the notebook that was run, for each notebook."""
    for path in NOTEBOOKS:
        notebook = run(path)
        made: dict[str, str | bytes] = {f"{path.stem}.ipynb": nbformat.writes(notebook)}
        made[f"{path.stem}.md"] = "\n\n".join(_parts(notebook, path.stem, made)) + "\n"
        for name, content in made.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def run(path: Path) -> Any:
    """Return a notebook with its outputs; an error in a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=_SECONDS_A_CELL, resources=where, extra_arguments=_QUIET).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    return notebook


def _parts(notebook: Any, stem: str, images: dict[str, str | bytes]) -> Iterator[str]:
    """Yield the Markdown of each cell and output, and add the images to ``images``."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield cell.source
            continue
        yield f"```python\n{cell.source}\n```"
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{stem}-{cell.id}.png"
                images[name] = base64.b64decode(data["image/png"])
                yield f"![What the cell shows]({name})"
            else:
                yield f"```text\n{(output.get('text') or data['text/plain']).rstrip()}\n```"
