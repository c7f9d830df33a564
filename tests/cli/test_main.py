"""How the command line ends: exit codes, one line for a failure, no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilesam import __version__
from mobilesam.cli import build_app, main

MOBILESAM = [sys.executable, "-m", "mobilesam"]


def all_commands() -> list[list[str]]:
    """Return the arguments that name every command and subcommand."""
    app = build_app()
    arguments: list[list[str]] = [[], *([info.name] for info in app.registered_commands)]
    for group in app.registered_groups:
        arguments.append([group.name])
        assert group.typer_instance is not None
        for info in group.typer_instance.registered_commands:
            assert info.callback is not None
            arguments.append([group.name, info.name or info.callback.__name__])
    return arguments


@pytest.mark.parametrize("arguments", all_commands(), ids=" ".join)
def test_every_command_has_help(command: Callable[..., Any], arguments: list[str]) -> None:
    outcome = command(*arguments, "--help")
    assert outcome.code == 0
    assert f"Usage: mobilesam {' '.join(arguments)}".strip() in outcome.out
    assert outcome.err == ""


def test_version(command: Callable[..., Any]) -> None:
    assert command("--version") == (0, f"mobilesam {__version__}\n", "")


def test_module_and_script_are_the_same_program() -> None:
    finished = subprocess.run([*MOBILESAM, "--version"], capture_output=True, text=True, check=True)
    assert finished.stdout == f"mobilesam {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "x.jpg", "--pont", "1,2"], "No such option: --pont"),
        (["predikt"], "No such command 'predikt'"),
        (["predict", "--point", "1,2"], "Missing argument"),
        (["predict", "x.jpg", "--point", "1,2", "--threads", "0"], "Invalid value for '--threads'"),
        (["predict", "x.jpg", "--point", "1,2", "--device", "tpu"], "Invalid value for '--device'"),
        (["predict", "x.jpg"], "error: predict must have --point, --box or --prompts, got none; add for"),
        (["predict", "x.jpg", "--point", "1"], "error: --point must be X,Y or X,Y,LABEL, got '1';"),
        (["predict", "x.jpg", "--box", "1,2,3"], "error: --box must be X1,Y1,X2,Y2, got '1,2,3';"),
        (["predict", "x.jpg", "--point", "1,2", "--format", "svg"], "error: --format must be one of overlay, mask, "),
        (
            ["predict", "x.jpg", "--point", "1,2", "--prompts", "p"],
            "error: --prompts must be used without --point and --box, got",
        ),
        (["predict", "-", "-", "--point", "1,2"], "error: - must be given once, got 2 times; standard input"),
        (
            ["predict", "x.jpg", "--point", "1,2", "--box", "0,0,2,2", "--box", "0,0,3,3"],
            "error: points must come with at most one box, got 2 boxes;",
        ),
    ],
)
def test_wrong_usage_exits_2(command: Callable[..., Any], arguments: list[str], message: str) -> None:
    outcome = command(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_an_interrupt_exits_130_without_a_traceback() -> None:
    waiting = subprocess.Popen(
        [*MOBILESAM, "predict", "-", "--point", "1,2"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a run in the background ignores
    )
    assert waiting.stdin is not None
    waiting.stdin.write("x" * 2**18)  # more than a pipe holds: this returns when its standard input is being read
    waiting.stdin.flush()
    waiting.send_signal(signal.SIGINT)
    _, complaint = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert complaint.strip() == ""


def test_a_closed_pipe_is_quiet() -> None:
    process = subprocess.Popen([*MOBILESAM, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=20) in (0, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        finished = subprocess.run([*MOBILESAM, "--version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (finished.returncode, finished.stderr) == (1, "error: standard output: No space left on device\n")


def test_a_library_that_opencv_lacks_is_named_with_its_debian_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(prog_name: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory", name="cv2")

    monkeypatch.setattr("mobilesam.cli.build_app", lambda: broken)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    line = capsys.readouterr().err
    assert line.startswith("error: libGL.so.1: cannot open shared object file")
    assert "run: apt-get install libgl1 libglib2.0-0" in line


def test_an_import_error_of_this_package_is_not_reported_as_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(prog_name: str) -> None:
        raise ImportError("cannot import name 'x' from 'mobilesam.image'", name="mobilesam.image")

    monkeypatch.setattr("mobilesam.cli.build_app", lambda: broken)
    with pytest.raises(ImportError, match="cannot import name 'x'"):
        main()
