"""The reference pages. ``python -m docs.hooks.reference`` writes what is generated in them; a test compares.

``docs/reference/commands.md`` has every command with its help, arguments and options. ``docs/reference/api.md`` lists
each public name with the first sentence of its documentation, so that the page is readable on a code host, too.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer.core import TyperArgument

from mobilesam.cli import build_app

PAGES = Path(__file__).resolve().parent.parent / "reference"
_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):<code>~?([\w.]+)</code>")
_COMMANDS_INTRO = """# Commands

After this page you know every command and every option. `mobilesam COMMAND --help` prints the same.

```console
mobilesam --help
```

Results go to stdout, everything else to stderr. The exit code is 0 for success, 1 for an expected failure, and 2 for
wrong usage. No file is overwritten without `--force`."""


def on_page_content(html: str, **_: Any) -> str:
    """Make a link of each role, where the reference has what it names."""
    return _ROLE.sub(r'<autoref optional identifier="\1"><code>\1</code></autoref>', html)


def commands_page() -> str:
    """Return the page of the commands."""
    app: Any = typer.main.get_command(build_app())
    context = app.make_context("mobilesam", ["doctor"])
    return "\n\n".join([_COMMANDS_INTRO, *_described(app, context, 1)]) + "\n"


def api_page(page: str) -> str:
    """Return the page of Python's names with a current table of names."""
    rows = ["| name | |", "| --- | --- |"]
    for path, shown in re.findall(r"^::: ([\w.]+)(?:\n    options:\n      heading: ([\w.]+))?", page, re.MULTILINE):
        if path != "mobilesam.errors":
            rows.append(f"| `{shown or path}` | {_first_sentence(path)} |")
    table = "<!-- names -->\n" + "\n".join(rows) + "\n<!-- end -->"
    return re.sub(r"<!-- names -->.*?<!-- end -->", lambda _: table, page, flags=re.DOTALL)


def _first_sentence(path: str) -> str:
    module, _, name = path.rpartition(".")
    module = re.sub(r"^(export|webui)\b", r"mobilesam.\1", module)
    value = getattr(importlib.import_module(module), name)
    text = inspect.getdoc(value) if callable(value) else "The functions that build a network, by model type."
    assert text, f"{path} has no documentation"
    line = " ".join(text.partition("\n\n")[0].split())
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", line).replace("``", "`").replace("|", "\\|")


def _described(command: Any, context: Any, level: int) -> Iterator[str]:
    """Yield the Markdown of a command and of those below it."""
    commands = getattr(command, "commands", {})
    if level > 1:
        yield f"{'#' * level} {context.command_path}"
        yield _help(command.help or "")
    if not commands:
        yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```"
        rows = []
        for item in command.get_params(context):
            if record := item.get_help_record(context):
                name = item.metavar if isinstance(item, TyperArgument) and item.metavar else record[0]
                rows.append(f"| {_code(name)} | {_escaped(record[1])} |")
        yield "\n".join(["| option | meaning |", "| --- | --- |", *rows])
    for name in commands:
        below = commands[name]
        yield from _described(below, type(context)(below, info_name=name, parent=context), level + 1)


def _help(text: str) -> str:
    """Return the help of a command with its examples as blocks; examples that follow each other are one."""
    marked = re.sub(r"^(mobilesam .*)$", r"```sh\n\1\n```", text, flags=re.MULTILINE)
    return marked.replace("```\n\n```sh\n", "")


def _code(text: str) -> str:
    return "`{}`".format(text.replace("|", "\\|")) if text else ""


def _escaped(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("[", "\\[").replace("<", "&lt;")


if __name__ == "__main__":
    (PAGES / "commands.md").write_text(commands_page(), encoding="utf-8")
    api = PAGES / "api.md"
    api.write_text(api_page(api.read_text(encoding="utf-8")), encoding="utf-8")
