"""The documentation: its examples work as they stand there, and the site is whole and loads nothing from elsewhere."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mobilesam.cli import build_app, options
from mobilesam.errors import MobileSamError
from mobilesam.formats.output import FORMATS
from mobilesam.onnx.providers import available
from tests.documents import DOCUMENTS, FAILURE, Block, Example, all_commands, commands, examples, lay_out

WITH_EXAMPLES = [name for name in DOCUMENTS if list(examples(name))]
# Parsed, and run by tests of their own: they serve until they are stopped, fetch, or take long.
NOT_RUN = {"batch", "bench", "export", "quantize", "verify", "webui"}


@pytest.fixture
def workplace(photo: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with the files that the examples name."""
    from mobilesam import weights
    from mobilesam.onnx import templates

    lay_out(tmp_path, photo, lambda: templates.whole_files(weights.ensure()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.torch
@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize("document", WITH_EXAMPLES)
def test_the_examples_work_from_top_to_bottom(document: str, workplace: Path, command: Callable[..., Any]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for example in examples(document):
        if "cuda" in example.block.code and available() != ["cpu"]:
            continue  # what is said without a GPU
        where = f"{document}, line {example.block.line}"
        if example.block.title:
            (workplace / example.block.title).write_text(example.block.code, encoding="utf-8")
        elif example.block.language == "python":
            run_python(example, names, where)
        else:
            run_commands(example, command, where)


def run_python(example: Example, names: dict[str, Any], where: str) -> None:
    """Run a block; it prints, raises or warns what is shown after it."""
    printed = io.StringIO()
    code = compile(example.block.code, where, "exec")
    try:
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        shown = printed.getvalue().strip()
    except (MobileSamError, UserWarning) as raised:
        shown = f"{type(raised).__module__}.{type(raised).__name__}: {raised}"
        assert example.shows is not None, f"{where} raises {shown}"
    if example.shows is not None:
        assert shown == example.shows, where


def run_commands(example: Example, command: Callable[..., Any], where: str) -> None:
    """Run the commands of a block; they succeed, or the last one fails with what is shown after it."""
    fails = example.shows is not None and FAILURE.match(example.shows)
    *before, last = [None, *lines_to_run(example.block)]
    for words in before[1:]:
        assert command(*words).code == 0, f"{where}: {words}"
    if last is None:
        return
    outcome = command(*last)
    assert (outcome.code != 0) == bool(fails), f"{where}: {outcome.err}"
    if example.shows is not None:
        assert example.shows in (outcome.err.strip(), outcome.out.strip(), outcome.err.strip().splitlines()[-1]), where


def lines_to_run(block: Block) -> list[list[str]]:
    """Return the words of the commands that a block runs by themselves, wildcards filled in as a shell does."""
    alone = Block("", "", "".join(line + "\n" for line in block.code.splitlines() if "|" not in line), 0)
    found = [words for words in commands(alone) if words[0] not in NOT_RUN]
    return [[name for word in words for name in expanded(word)] for words in found]


def expanded(word: str) -> list[str]:
    """Return the files that a word with a wildcard stands for, or the word."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


@pytest.mark.parametrize("document", WITH_EXAMPLES)
def test_every_command_parses(document: str) -> None:
    for block, shows in examples(document):
        if block.language == "console" and not (shows and FAILURE.match(shows)):
            for words in commands(block):
                parse(words)


def test_the_examples_in_the_help_of_commands_parse() -> None:
    found = [line for command in all_commands() for line in re.findall(r"^mobilesam (.*)$", command.help or "", re.M)]
    assert len(found) > 10
    for line in found:
        parse(line.split())


def parse(words: list[str]) -> None:
    """Let the command line read a command, without running it."""
    command: Any = typer.main.get_command(build_app())
    context = command.make_context("mobilesam", [words[0]])
    while hasattr(command, "commands") and words:
        name, *words = words
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name}"
        context = command.make_context(
            name, list(words), parent=context, resilient_parsing=hasattr(command, "commands")
        )
    if context.info_name == "predict":
        options.parse_prompts(context.params["point"] or [], context.params["box"] or [])
        options.parse_formats(context.params["formats"], FORMATS)
