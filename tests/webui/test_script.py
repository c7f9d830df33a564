"""The page's script, by Node's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = sorted((Path(__file__).parent / "script").glob("*.mjs"))
NODE = shutil.which("node")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_script(path: Path, tmp_path: Path) -> None:
    if NODE is None:
        pytest.skip("Node is not installed: apt-get install nodejs")
    shutil.copytree(ROOT / "webui" / "static", tmp_path / "static")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "script").mkdir()
    copy = Path(shutil.copy(path, tmp_path / "script"))
    outcome = subprocess.run([NODE, "--test", copy], capture_output=True, text=True, check=False, timeout=300)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "# pass 0" not in outcome.stdout
