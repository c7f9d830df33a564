"""Ctrl-C ends a command with exit code 130 and without a traceback, also while it is being imported.

The signal is a real one, sent when a certain module begins to be imported: the same moment each time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = """
import os, signal, sys
class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            {send}
sys.meta_path.insert(0, Hook())
"""
SEND = "os.kill(os.getpid(), signal.SIGINT)"
# As in the callback of a weak reference, where Python prints an exception and goes on.
LOST = "type('Dying', (), {'__del__': lambda self: os.kill(os.getpid(), signal.SIGINT)})()"
# As in an extension module that responds to any exception while it imports NumPy with its own.
CHANGED = (
    "\n            try:\n                os.kill(os.getpid(), signal.SIGINT)"
    "\n            except BaseException:\n                raise ImportError('failed', name='numpy')"
)


def run(folder: Path, hook: str, start: list[str], *arguments: object, ignored: bool = False) -> tuple[int, str]:
    """Run a command whose process executes ``hook`` first; return its exit code and what it wrote to stderr."""
    (folder / "sitecustomize.py").write_text(hook)
    finished = subprocess.run(
        [*start, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        timeout=60,
        # pytest itself may run where interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    return finished.returncode, finished.stderr


MODULE = [sys.executable, "-m", "mobilesam"]
SCRIPT = [sys.executable, "-c", "import sys; from mobilesam.__main__ import main; sys.exit(main())"]


@pytest.mark.weights
@pytest.mark.parametrize("start", [MODULE, SCRIPT], ids=["module", "script"])
@pytest.mark.parametrize(
    "module", ["mobilesam.cli", "typer", "mobilesam.cli.webui", "numpy", "PIL.Image", "onnxruntime"]
)
def test_an_interrupt_during_imports_exits_130(tmp_path: Path, photo, start: list[str], module: str) -> None:
    hook = HOOK.format(module=module, send=SEND)
    arguments = ("predict", photo("chelsea.png"), "--point", "1,2", "--backend", "onnx")
    assert run(tmp_path, hook, start, *arguments) == (130, "")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py"] in ([], ["__pycache__"])


@pytest.mark.parametrize("send", [LOST, CHANGED], ids=["lost in a callback", "changed to an ImportError"])
def test_an_interrupt_that_an_import_swallows_still_ends_the_command(tmp_path: Path, photo, send: str) -> None:
    hook = HOOK.format(module="PIL.Image", send=send)
    code, complaint = run(tmp_path, hook, MODULE, "predict", photo("chelsea.png"), "--point", "1,2")
    assert code == 130
    assert "Traceback" not in complaint


def test_an_ignored_interrupt_stays_ignored(tmp_path: Path) -> None:
    hook = HOOK.format(module="typer", send=SEND)
    assert run(tmp_path, hook, MODULE, "--version", ignored=True) == (0, "")


def test_the_installed_script_is_the_one_tested() -> None:
    import tomllib

    project = Path(__file__).parents[2] / "pyproject.toml"
    assert tomllib.loads(project.read_text(encoding="utf-8"))["project"]["scripts"] == {
        "mobilesam": "mobilesam.__main__:main"
    }
