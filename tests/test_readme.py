"""What the README says is there; its examples run with those of the documentation, in test_docs.py."""

from __future__ import annotations

import re

from tests.documents import ROOT, blocks, commands

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_shows_the_main_commands() -> None:
    shown = [line[0] for block in blocks("README.md") for line in commands(block)]
    assert shown.count("predict") == 4
    assert {"doctor", "everything", "batch", "samples"} <= set(shown)


def test_the_make_targets_and_files_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", prose):
        assert (ROOT / link).is_file(), link
