"""A full disk, too little memory and Ctrl-C in a batch: one message, and ``--resume`` continues."""

from __future__ import annotations

import functools
import gc
import json
import logging
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.process_tree import descendants
from mobilesam.batch.pipeline import run_pipeline, take_from
from mobilesam.batch.processes import run_in_processes, run_work
from mobilesam.errors import InputError, MobileSamError
from tests.batch.works import NameWork, tasks
from tests.conftest import ROOT
from tests.robustness.batch_runs import BOX, contents, paint, run, segment, start
from tests.robustness.works import HUGE, FailingWork, HugeWork, without_memory


@contextmanager
def limited(more: int) -> Iterator[None]:
    """Limit this process, and the processes that it starts, to so many more bytes of memory."""
    gc.collect()  # else memory of earlier tests may become free within the limit
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with six images."""
    for number in range(6):
        paint(tmp_path / f"photos/{number}.png", shift=number)
    return tmp_path / "photos"


def test_a_journal_that_cannot_grow_is_a_sentence_and_goes_on(photos: Path, tmp_path: Path) -> None:
    """Files have a largest size here, since a full disk needs one of its own."""
    box = [*BOX[:2], BOX[2] + 0.5, BOX[3]]
    objects = [{"box": [x + number / 7 for x in box]} for number in range(150)]
    (tmp_path / "prompts.json").write_text(json.dumps({"version": 1, "objects": objects}))
    arguments = ["batch", "photos", "--prompts", "prompts.json", "--workers", 1, "--out"]
    assert run(*arguments, "whole", cwd=tmp_path).returncode == 0
    size = (tmp_path / "whole/batch.sqlite").stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    outcome = run(*arguments, "out", cwd=tmp_path, preexec_fn=limit)
    assert outcome.returncode == 1
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("error: The journal out/batch.sqlite cannot be read or written (")
    assert line.endswith("Free some space if the disk is full, then run again with --resume.")
    assert not list((tmp_path / "out").rglob(".*")), "nothing unfinished is left"
    with closing(sqlite3.connect(tmp_path / "out/batch.sqlite")) as journal:
        ((done,),) = journal.execute("SELECT count(*) FROM images WHERE result NOTNULL")
    assert 0 < done < 6
    assert run(*arguments, "out", "--resume", cwd=tmp_path).returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_photos_that_do_not_fit_into_memory_are_bad() -> None:
    done = list(run_pipeline(NameWork(), take_from(tasks("a", "large", "heavy", "long", "b"))))
    assert [outcome.error for outcome in done] == [
        None,
        "the image does not fit into memory",
        "the image does not fit into memory",
        "no such name",
        None,
    ]


MEMORY_ERRORS = ["std::bad_alloc", "Failed to allocate memory for requested buffer", "OpenCV: Insufficient memory"]


@pytest.mark.parametrize("step", ["read", "decode", "compute", "write"])
@pytest.mark.parametrize("text", MEMORY_ERRORS)
def test_memory_errors_of_libraries_are_bad_photos(step: str, text: str) -> None:
    """Those of NumPy and Python are MemoryErrors; others have classes of their own."""
    work = FailingWork(step, RuntimeError(text))
    done = list(run_pipeline(work, take_from(tasks("a", "failing", "b"))))
    assert [outcome.error for outcome in done] == [None, "the image does not fit into memory", None]


@pytest.mark.parametrize("step", ["read", "compute", "write"])
def test_an_unexpected_error_of_a_worker_is_one_sentence(
    step: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mobilesam.batch")
    make_work = functools.partial(FailingWork, step, KeyError("no such layer\nmore"))
    with pytest.raises(MobileSamError) as error:
        list(run_in_processes(make_work, tasks("a", "failing", "b"), 1))
    reason = r"KeyError: 'no such layer\nmore'"
    assert str(error.value) == f"A worker process failed ({reason}). Run with --workers 1 to see where."
    assert capfd.readouterr().err == ""
    assert "tests/robustness/works.py" in caplog.text


def test_an_interrupt_handler_that_is_not_pythons_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program that embeds Python: ``signal`` then knows no handler, and cannot restore one."""
    before, install = signal.getsignal(signal.SIGINT), signal.signal

    def without_result(number: int, handler: Any) -> None:
        install(number, handler)  # which takes no None

    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    monkeypatch.setattr(signal, "signal", without_result)
    try:
        outcomes = list(run_in_processes(NameWork, tasks("a"), 1))
    finally:
        assert install(signal.SIGINT, before) is before
    assert [outcome.result for outcome in outcomes] == [b"A"]


def collect_a_huge_result() -> None:
    """Print what becomes of a result that the collecting process, which is this one, has no memory for."""
    outcomes = run_in_processes(HugeWork, tasks("a", "huge", "b", "c"), 1)
    done = [next(outcomes)]
    with limited(HUGE // 2):
        done += outcomes
    by_number = {outcome.number: outcome for outcome in done}
    sys.stdout.write(f"{[by_number[number].result for number in (0, 2, 3)]}\n{by_number[1].error}\n")


def test_a_result_too_large_for_the_collecting_process_is_a_bad_photo() -> None:
    # In a new process: in this one, memory that earlier tests give back would make room for the result.
    code = "from tests.robustness.test_batch_failures import collect_a_huge_result as run; run()"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    results, reason = finished.stdout.splitlines()
    assert results == "[b'A', b'B', b'C']"
    assert "memory" in reason, "whichever comes first: the worker in its place is limited, too"
    assert finished.stderr == ""


def test_a_worker_without_memory_for_the_model_is_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        InputError, match=r"^A worker process exited while loading the model \(exit code 1\)\. Use fewer --w"
    ):
        list(run_work(without_memory, tasks("a", "b"), 2))
    assert capfd.readouterr().err == ""


def test_results_that_do_not_fit_into_memory_are_a_sentence(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment([photos], out, formats=("coco",))
    result = zlib.compress(json.dumps(["0.png", [64, 96], ["x" * (4 * HUGE)]]).encode(), 1)
    with closing(sqlite3.connect(out / "batch.sqlite")) as journal, journal:
        journal.execute("UPDATE images SET result = ? WHERE number = 0", (result,))
    del result
    with limited(HUGE // 4), pytest.raises(InputError, match=r"^The results do not fit into memory\. .* --resume"):
        segment([photos], out, formats=("coco",), resume=True)


@pytest.mark.parametrize(("command", "processes"), [("batch", 2), ("batch", 3), ("batch", 4), ("embed", 3)])
def test_ctrl_c_while_workers_start_is_one_line(photos: Path, tmp_path: Path, command: str, processes: int) -> None:
    """Interrupted, as a terminal does it to all processes of a command, once so many of them are there."""
    (tmp_path / "model.bin").write_bytes(b"weights")
    kind = ["--everything", "--points-per-side", 4] if command == "batch" else []
    arguments = [command, "photos", *kind, "--out", "out", "--workers", 3, "--model", "model.bin"]
    process = start("color_cli", *arguments, cwd=tmp_path, start_new_session=True)
    while len(descendants(process.pid)) < processes:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    remedy = "--resume --out out" if command == "batch" else "the same command"
    assert process.communicate()[1] == f"interrupted; continue with {remedy}\n"
    assert process.returncode == 130
    assert not list((tmp_path / "out").glob(".*"))
