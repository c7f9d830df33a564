"""A journal that is damaged, crafted, locked or foreign: one message each, and no file of others is touched."""

from __future__ import annotations

import json
import resource
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mobilesam.batch.folder import finished_journal, is_token, new_token
from mobilesam.batch.journal import Journal, pack
from mobilesam.batch.journal_file import Planned
from mobilesam.batch.tasks import Outcome
from mobilesam.errors import InputError
from mobilesam.files import write_bytes
from tests.formats.scenes import PHOTO
from tests.robustness.batch_runs import BOX, contents, paint, run, segment

PHOTOS = [Planned("a.png", "a")]


def change(out: Path, sql: str, *values: Any) -> None:
    with closing(sqlite3.connect(out / "batch.sqlite")) as connection, connection:
        connection.execute(sql, values)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The results of an image, in a folder of their own."""
    paint(tmp_path / "photos/a.png")
    segment([tmp_path / "photos"], tmp_path / "out", formats=("coco", "mask"))
    return tmp_path / "out"


def again(out: Path, **mode: bool) -> None:
    segment([out.parent / "photos"], out, formats=("coco", "mask"), **mode)


@pytest.mark.parametrize("mode", ["resume", "force"])
def test_a_token_of_a_journal_is_never_a_path(out: Path, mode: str) -> None:
    victim = out.parent / "victim"
    write_bytes(victim / "file", b"mine")
    for token in ("x/../../victim", f"{new_token()}/../../victim", "../victim", b"\0", ""):
        (out / f".mobilesam-{token}".partition("/")[0]).mkdir(exist_ok=True) if isinstance(token, str) else None
        change(out, "INSERT INTO unfinished VALUES (?)", token)
    before = sorted(out.iterdir())
    again(out, **{mode: True})
    assert contents(victim) == {"file": b"mine"}
    assert sorted(out.iterdir()) == before


@pytest.mark.parametrize(
    ("token", "good"),
    [("0" * 32, True), ("0" * 31, False), ("0" * 32 + "\n", False), ("A" * 32, False), (5, False), (None, False)],
)
def test_tokens_are_32_hexadecimal_digits(token: Any, good: bool) -> None:
    assert is_token(token) is good
    assert is_token(new_token())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("fingerprint", None),
        ("fingerprint", "{"),
        ("fingerprint", "[1, 2]"),
        ("fingerprint", '["1", 2, "3"]'),
        ("fingerprint", "[" * 100_000),
        ("source", "a.png"),
        ("source", "5"),
        ("name", "["),
        ("number", 7),
        ("result", b"damaged"),
        ("result", "text"),
    ],
)
def test_damaged_content_is_a_sentence(out: Path, column: str, value: Any) -> None:
    change(out, f"UPDATE images SET {column} = ?", value)
    with pytest.raises(InputError, match=r"^The journal is damaged \(.*\)\. Start again with --force\.$"):
        again(out, resume=True)
    again(out, force=True)


def test_damaged_settings_are_a_sentence(out: Path) -> None:
    change(out, "UPDATE about SET value = '{'")
    with pytest.raises(InputError, match=r"^The journal is damaged \("):
        again(out, resume=True)


def test_a_journal_that_is_locked_or_lacks_a_column_has_its_own_remedy(out: Path) -> None:
    with closing(sqlite3.connect(out / "batch.sqlite", isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match=r"\(database is locked\)\. Another program has it open\. Close that prog"):
            again(out, resume=True)
    change(out, "ALTER TABLE images DROP COLUMN source")
    with pytest.raises(InputError, match=r"\(no such column: source\)\. Start again with --force\.$"):
        again(out, resume=True)


@pytest.mark.parametrize("kind", ["text", "database", "folder", "link"])
def test_force_removes_no_file_that_is_not_a_journal(out: Path, kind: str) -> None:
    path = out / "batch.sqlite"
    path.unlink()
    if kind == "text":
        path.write_bytes(b"my own notes")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("absent")
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE mine (value)")
    before = contents(out)
    for mode in ("force", "resume"):
        with pytest.raises(
            InputError, match=r"^batch\.sqlite in .*out is not a journal of mobilesam\. Choose another -"
        ):
            again(out, **{mode: True})
    assert contents(out) == before
    assert path.is_symlink() == (kind == "link")


def test_what_cannot_be_removed_hides_no_error_and_closes_the_journal(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "batch.sqlite", {}, PHOTOS)
    finished_journal(tmp_path, journal._token).mkdir()  # which unlink does not remove
    with pytest.raises(ValueError, match="mine"), journal:
        raise ValueError("mine")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        journal._connection.execute("SELECT 1")


def test_the_files_of_all_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    """Files have a largest size here, which coco.json passes and the journal does not."""
    for number in range(4):
        paint(tmp_path / f"photos/{number}.png", shift=number)
    objects = [{"box": [*BOX[:2], BOX[2] + 0.5, BOX[3] + number / 400]} for number in range(400)]
    (tmp_path / "prompts.json").write_text(json.dumps({"version": 1, "objects": objects}))
    arguments = ["batch", "photos", "--prompts", "prompts.json", "--workers", 1, "--out"]
    assert run(*arguments, "whole", cwd=tmp_path).returncode == 0
    size = (tmp_path / "whole/coco.json").stat().st_size
    assert 3 * (tmp_path / "whole/batch.sqlite").stat().st_size < size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    outcome = run(*arguments, "out", cwd=tmp_path, preexec_fn=limit)
    expected = "error: output folder must be writable, got out (File too large); choose another folder\n"
    assert (outcome.returncode, outcome.stderr) == (1, expected)
    assert run(*arguments, "out", "--resume", cwd=tmp_path).returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_results_leave_no_cursor_open(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "batch.sqlite", {}, PHOTOS) as journal:
        journal.record(Outcome(0, pack(PHOTO)))
        results = journal.results()
        assert next(results) == PHOTO
    results.close()
