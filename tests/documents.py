"""The blocks of code in the README and in docs/.

A ``console`` block is a list of shell commands, and a ``python`` block a part of a program; a test runs both. A
``text`` block right after one shows what it prints. A block with a title is the content of a file. ``sh`` blocks
install or publish something, and only their ``mobilesam`` commands are parsed.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer.main

from mobilesam.cli import build_app

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))]
FAILURE = re.compile(r"error: |[\w.]+(?:Error|Warning): ")
_FENCE = re.compile(r"^```(\w+)?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, the file that it is if it has a title, and the line at which it begins."""

    language: str
    title: str
    code: str
    line: int


class Example(NamedTuple):
    """A block that a reader would paste, and the ``text`` block right after it, if there is one."""

    block: Block
    shows: str | None


def blocks(document: str) -> list[Block]:
    """Return the fenced blocks of a document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    listed = []
    for match in _FENCE.finditer(text):
        title = re.search(r'title="([^"]*)"', match[2])
        line = text.count("\n", 0, match.start()) + 1
        listed.append(Block(match[1] or "", title[1] if title else "", match[3], line))
    return listed


def examples(document: str) -> Iterator[Example]:
    """Yield the blocks of Python, of commands and of files, in their order."""
    listed = blocks(document)
    for block, after in itertools.zip_longest(listed, listed[1:]):
        if block.title or block.language in ("python", "console"):
            yield Example(block, after.code.strip() if after and after.language == "text" else None)


def commands(block: Block) -> list[list[str]]:
    """Return the arguments of each ``mobilesam`` command in a block, also of those that stand in a pipe."""
    lines = block.code.replace("\\\n", " ").splitlines()
    matches = (re.search(r"(?:^|\| |\.venv/bin/)mobilesam (.*)", line) for line in lines)
    return [shlex.split(match[1], comments=True) for match in matches if match]


def all_commands() -> list[Any]:
    """Return every command, those of groups included."""
    app: Any = typer.main.get_command(build_app())
    listed = list(app.commands.values())
    return listed + [below for group in listed for below in getattr(group, "commands", {}).values()]
