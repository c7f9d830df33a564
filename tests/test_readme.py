"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mobilesam.cli import build_app, options, output
from mobilesam.prompt_file import parse_prompts

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = re.findall(r"\bmobilesam (predict|doctor|weights|eval|bench)\b(.*)", "\n".join(blocks("console")))


@pytest.mark.torch
@pytest.mark.weights
def test_the_python_block_runs(photo: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("python")
    shutil.copy(photo("chelsea.png"), tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["best"].shape == (300, 451)
    assert 0.5 < found["best"].mean() < 0.9
    assert found["scores"].max() > 0.9


@pytest.mark.parametrize(("name", "rest"), COMMANDS)
def test_the_commands_parse(name: str, rest: str) -> None:
    group: Any = typer.main.get_command(build_app())
    root = group.make_context("mobilesam", [name])
    arguments = shlex.split(rest, comments=True)
    context = group.get_command(root, name).make_context(name, arguments, parent=root)
    if name == "predict":
        options.parse_prompts(context.params["point"] or [], context.params["box"] or [])
        options.parse_formats(context.params["formats"], output.FORMATS)


def test_every_command_block_is_seen() -> None:
    assert [name for name, _ in COMMANDS].count("predict") == 5


def test_the_prompt_file_is_one() -> None:
    (text,) = blocks("json")
    prompts = parse_prompts(text).for_image("cat.jpg")
    assert [len(prompt.points) for prompt in prompts] == [2, 0]
    assert prompts[1].box == (80, 20, 420, 300)


def test_the_make_targets_and_files_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", prose):
        assert (ROOT / link).is_file(), link
