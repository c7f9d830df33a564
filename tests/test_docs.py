"""The documentation: each page's examples run as printed, from top to bottom, in an empty folder."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from docs.hooks import reference
from mobilesam.cli import build_app, options
from mobilesam.errors import MobileSamError
from mobilesam.formats.output import FORMATS
from mobilesam.onnx.providers import available
from tests.documents import DOCUMENTS, FAILURE, ROOT, Example, all_commands, blocks, commands, examples

WITH_EXAMPLES = [name for name in DOCUMENTS if list(examples(name))]
PAGE = "http://127.0.0.1:7860/health"
# What needs the network, other programs or a checkout, and runs in test_packaging.py or in CI.
NOT_RUN = re.compile(
    r"^\s*(pip|pipx|python3? -m (pip|venv)|docker|make|git|npm|npx|sudo|apt-get)\b|\.venv/bin/pip\b|--engine ray"
)  # tests/batch/test_ray.py runs that engine


class Servers:
    """The ``mobilesam webui`` of a page; it runs until the end of the page."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, line: str) -> None:
        """Start a server in place of the one before, and wait until it responds."""
        self.stop()
        self.running.append(subprocess.Popen(["bash", "-c", f"exec {line}"], stdout=subprocess.DEVNULL))
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.running[-1].poll() is None, f"{line} ended"
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(PAGE, timeout=5).close()
                return
            time.sleep(0.2)
        raise AssertionError(f"{line} did not respond")

    def stop(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGINT)
        assert [process.wait(30) for process in self.running] in ([], [0])
        self.running.clear()


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Stand in an empty folder, with the command ``mobilesam`` on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("MOBILESAM_NO_SKIPS", raising=False)
    started = Servers()
    yield started
    started.stop()


@pytest.mark.torch
@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
@pytest.mark.parametrize("document", WITH_EXAMPLES)
def test_the_examples_work_from_top_to_bottom(document: str, servers: Servers) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for example in examples(document):
        if "cuda" in example.block.code and available() != ["cpu"]:
            continue  # the message without a GPU
        where = f"{document}, line {example.block.line}"
        if example.block.title:
            Path(example.block.title).write_text(example.block.code, encoding="utf-8")
        elif example.block.language == "python":
            run_python(example, names, where)
        else:
            run_console(example, servers, where)


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


def run_console(example: Example, servers: Servers, where: str) -> None:
    """Run the lines of a block in a shell; they succeed, or the last one fails with what is shown after it."""
    lines = [line for line in example.block.code.replace("\\\n", " ").splitlines() if line and not NOT_RUN.search(line)]
    for line in lines:
        if line.startswith("mobilesam webui") and not line.endswith("--help"):
            servers.start(line)
            continue
        outcome = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=300)
        fails = line is lines[-1] and example.shows is not None and FAILURE.match(example.shows)
        assert (outcome.returncode != 0) == bool(fails), f"{where}: {line}\n{outcome.stderr}"
    if lines and example.shows is not None:
        assert example.shows in (outcome.stdout.strip(), outcome.stderr.strip().splitlines()[-1:] and
                                 outcome.stderr.strip().splitlines()[-1]), where  # fmt: skip


@pytest.mark.parametrize("document", WITH_EXAMPLES)
def test_every_command_parses(document: str) -> None:
    for block in blocks(document):
        if block.language in ("console", "sh"):
            for arguments in commands(block):
                if not arguments[0].startswith("--"):
                    parse(arguments)


def test_the_examples_in_the_help_of_commands_parse() -> None:
    lines = [line for command in all_commands() for line in re.findall(r"^mobilesam (.*)$", command.help or "", re.M)]
    assert len(lines) > 10
    for line in lines:
        parse(line.split())


def parse(arguments: list[str]) -> None:
    """Let the command line read a command, without running it."""
    command: Any = typer.main.get_command(build_app())
    context = command.make_context("mobilesam", [arguments[0]])
    while hasattr(command, "commands") and arguments:
        name, *arguments = arguments
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name}"
        context = command.make_context(
            name, list(arguments), parent=context, resilient_parsing=hasattr(command, "commands")
        )
    if context.info_name == "predict":
        options.parse_formats(context.params["formats"], FORMATS)


@pytest.mark.torch  # with which all modules can be imported
def test_the_generated_pages_are_current() -> None:
    """``python -m docs.hooks.reference`` writes them."""
    api = (reference.PAGES / "api.md").read_text(encoding="utf-8")
    assert (reference.PAGES / "commands.md").read_text(encoding="utf-8") == reference.commands_page()
    assert api == reference.api_page(api)


LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)")


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "weights/README.md"]
)
def test_links_and_images_resolve_on_a_code_host(document: str) -> None:
    """Each relative link names a tracked file, and a heading of it where it has a fragment."""
    text = (ROOT / document).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "--8<--" not in text, "an include shows nothing there"
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", text)):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, fragment = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), f"{document}: {link}"
        if fragment:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in {slug(heading) for heading in headings}, f"{document}: {link}"


def slug(heading: str) -> str:
    """Return the fragment by which code hosts and the site link to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")
