"""The blocks of code in the README and in docs/, and what they find when a test runs them."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer.main
from PIL import Image

from mobilesam.cli import build_app

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))]
FAILURE = re.compile(r"error: |[\w.]+(?:Error|Warning): ")
_FENCE = re.compile(r"^```(\w+)?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, the file it stands for if it has a title, and the line it begins at."""

    language: str
    title: str
    code: str
    line: int


class Example(NamedTuple):
    """A block that a reader would paste, and what the ``text`` block right after it says it shows, if there is one."""

    block: Block
    shows: str | None


def blocks(document: str) -> list[Block]:
    """Return the fenced blocks of a document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        title = re.search(r'title="([^"]*)"', match[2])
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(match[1] or "", title[1] if title else "", match[3], line))
    return found


def examples(document: str) -> Iterator[Example]:
    """Yield the blocks of Python, of commands and of files, in their order."""
    found = blocks(document)
    for block, after in itertools.zip_longest(found, found[1:]):
        if block.title or block.language in ("python", "console"):
            yield Example(block, after.code.strip() if after and after.language == "text" else None)


def commands(block: Block) -> list[list[str]]:
    """Return the words of each ``mobilesam`` command in a block, also of those that stand in a pipe."""
    lines = block.code.replace("\\\n", " ").splitlines()
    found = (re.search(r"(?:^|\| |\.venv/bin/)mobilesam (.*)", line) for line in lines)
    return [shlex.split(match[1], comments=True) for match in found if match]


def all_commands() -> list[Any]:
    """Return every command, those of groups included."""
    app: Any = typer.main.get_command(build_app())
    found = list(app.commands.values())
    return found + [below for group in found for below in getattr(group, "commands", {}).values()]


def lay_out(folder: Path, photo: Callable[[str], Path], onnx_files: Callable[[], list[Path]]) -> None:
    """Put the files that the examples speak of into a folder: photos, ground truth and an exported model."""
    Image.open(photo("chelsea.png")).save(folder / "cat.jpg", quality=95)
    (folder / "photos").mkdir()
    for name in ("astronaut", "coffee"):
        Image.open(photo(f"{name}.png")).save(folder / "photos" / f"{name}.jpg", quality=95)
    (folder / "onnx").mkdir()
    for path in onnx_files():
        shutil.copy(path, folder / "onnx")
    (folder / "instances.json").write_text(json.dumps(_ground_truth()))


def _ground_truth() -> dict[str, Any]:
    """Return COCO annotations of photos/coffee.jpg: its saucer, roughly."""
    corners = [(478, 224), (420, 339), (278, 387), (138, 339), (78, 224), (138, 109), (278, 61), (420, 109)]
    saucer = {"segmentation": [[number for corner in corners for number in corner]], "bbox": [78, 61, 400, 326]}
    return {
        "images": [{"id": 1, "file_name": "coffee.jpg", "width": 600, "height": 400}],
        "categories": [{"id": 1, "name": "saucer"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 92000} | saucer],
    }
