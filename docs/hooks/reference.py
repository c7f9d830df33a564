"""The reference pages: commands from the command line itself, and the roles in docstrings as links.

``<!-- commands -->`` in a page stands for every command with its help, arguments and options, as ``--help`` has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer.main

from mobilesam.cli import build_app

_MARK = "<!-- commands -->"
_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):<code>~?([\w.]+)</code>")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Write the commands in the place of the mark."""
    if _MARK not in markdown:
        return markdown
    app: Any = typer.main.get_command(build_app())
    return markdown.replace(_MARK, "\n\n".join(_described(app, app.make_context("mobilesam", ["doctor"]), 1)))


def on_page_content(html: str, **_: Any) -> str:
    """Make a link of each role, where the reference has what it names."""
    return _ROLE.sub(r'<autoref optional identifier="\1"><code>\1</code></autoref>', html)


def _described(command: Any, context: Any, level: int) -> Iterator[str]:
    """Yield the Markdown of a command and of those below it."""
    commands = getattr(command, "commands", {})
    if level > 1:
        yield f"{'#' * level} {context.command_path}"
        yield _help(command.help or "")
    if not commands:
        yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```"
        records = [item.get_help_record(context) for item in command.get_params(context)]
        rows = [f"| {_code(record[0])} | {_escaped(record[1])} |" for record in records if record]
        yield "\n".join(["| option | meaning |", "| --- | --- |", *rows])
    for name in commands:
        below = commands[name]
        yield from _described(below, type(context)(below, info_name=name, parent=context), level + 1)


def _help(text: str) -> str:
    """Return the help of a command with its examples as blocks; examples that follow each other are one."""
    marked = re.sub(r"^(mobilesam .*)$", r"```console\n\1\n```", text, flags=re.MULTILINE)
    return marked.replace("```\n\n```console\n", "")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _escaped(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("[", "\\[").replace("<", "&lt;")
