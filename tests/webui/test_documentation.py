"""docs/webui.md and the Dockerfile agree with the program."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
import typer.main

from mobilesam.cli import build_app
from tests.documents import ROOT, blocks

DOCUMENT = (ROOT / "docs" / "webui.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


@pytest.mark.weights
def test_the_health_that_is_shown_has_the_fields_of_the_real_one(server: Any) -> None:
    import httpx

    (shown,) = [json.loads(block.code) for block in blocks("docs/webui.md") if block.language == "json"]
    assert httpx.get(f"{server.url}/health").json().keys() == shown.keys()


def test_every_option_is_in_the_table_with_its_default() -> None:
    app: Any = typer.main.get_command(build_app())
    options = {option.opts[0]: option for option in app.get_command(None, "webui").params}
    rows = re.findall(r"^\| `(--[a-z-]+) [^`]*` \| ([^|]*) \|", DOCUMENT, re.MULTILINE)
    assert [name for name, _ in rows] == [name for name in options if name != "--help"]
    for name, default in rows:
        if default.startswith("`"):
            assert default == f"`{getattr(options[name].default, 'value', options[name].default)}`", name
        else:
            assert options[name].default is None, name


def instructions(name: str) -> list[str]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [" ".join(line.split()[1:]) for line in text.splitlines() if line.startswith(f"{name} ")]


def test_the_image_is_built_by_the_steps_of_the_readme() -> None:
    system, user, *steps = instructions("RUN")
    assert re.search(r"apt-get install --yes --no-install-recommends curl libgl1 libglib2.0-0 &&", system)
    assert "apt-get install libgl1 libglib2.0-0" in INSTALL
    assert user.startswith("useradd")
    plain = [step.replace(" --no-cache-dir", "").replace('".[webui,serve]"', ".") for step in steps[:2]]
    assert "\n".join(plain) in README, "the same as there, with the extras of the servers"
    assert "| `webui` | Gradio | the page in the browser |" in README
    assert steps[2] == ".venv/bin/mobilesam weights fetch"
    assert "`mobilesam weights fetch`" in INSTALL


def test_the_image_runs_the_page_as_a_user_without_rights_and_without_torch() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "torch" not in text
    assert text.index("\nUSER mobilesam\n") < text.index("pip install")
    (program,), (command,) = map(json.loads, instructions("ENTRYPOINT")), map(json.loads, instructions("CMD"))
    assert (program, command[0]) == ([".venv/bin/mobilesam"], "webui")
    app: Any = typer.main.get_command(build_app())
    (check,), (exposed,) = instructions("HEALTHCHECK"), instructions("EXPOSE")
    for name, page in (("webui", "docs/webui.md"), ("serve", "docs/guides/serving.md")):
        runs = [shlex.split(block.code) for block in blocks(page) if block.code.startswith("docker")]
        given = next((run[run.index(name) + 1 :] for run in runs if name in run), command[1:])
        context = app.get_command(None, name).make_context(name, given)
        port = context.params["port"]
        assert context.params["host"] == "0.0.0.0"
        assert f":{port}/health" in check
        assert str(port) in exposed.split()
        assert any(f"127.0.0.1:{port}:{port}" in run for run in runs), page
    copied = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for part in ("mobilesam", "export", "webui", "weights/manifest.toml", "pyproject.toml", "README.md", "LICENSE"):
        assert f"!{part}" in copied
        assert (ROOT / part).exists()
