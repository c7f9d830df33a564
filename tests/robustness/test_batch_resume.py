"""What ``--resume`` promises: the results belong to the pictures that are there now, and are all there."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from mobilesam.errors import InputError
from mobilesam.formats import read_coco
from tests.robustness.batch_runs import contents, paint, segment, start

NAMES = ("a", "b", "sub/a", "sub/c")
KILLS = 3


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with four pictures."""
    for name in NAMES:
        paint(tmp_path / f"photos/{name}.png")
    return tmp_path / "photos"


def fresh(photos: Path, out: Path) -> dict[str, bytes]:
    """Return what a run over the pictures that are there now writes."""
    shutil.rmtree(out, ignore_errors=True)
    segment([photos], out)
    return contents(out)


def test_a_picture_that_was_replaced_is_done_again(photos: Path, tmp_path: Path) -> None:
    out, notices = tmp_path / "out", list[str]()
    before = fresh(photos, out)
    paint(photos / "sub/a.png", shift=6)
    segment([photos], out, resume=True, notice=notices.append)
    (notice,) = notices
    assert notice.startswith("pictures that changed since they were done: 1, such as ")
    assert notice.endswith("sub/a.png; they are done again")
    assert contents(out) == fresh(photos, tmp_path / "fresh")
    assert contents(out)["coco.json"] != before["coco.json"]


@pytest.mark.parametrize("kept", ["size", "mtime"])
def test_either_of_size_and_time_is_enough_to_notice(photos: Path, tmp_path: Path, kept: str) -> None:
    out = tmp_path / "out"
    fresh(photos, out)
    path = photos / "b.png"
    status = path.stat()
    paint(path, shift=6)
    if kept == "size":
        path.write_bytes(path.read_bytes().ljust(max(status.st_size, path.stat().st_size), b"\0"))
        paint(photos / "a.png")  # the same bytes at another time
    else:
        path.write_bytes(path.read_bytes() + b"\0")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    segment([photos], out, resume=True)
    assert contents(out) == fresh(photos, tmp_path / "fresh")


def test_a_picture_that_was_only_touched_is_not_done_again(photos: Path, tmp_path: Path) -> None:
    out, done = tmp_path / "out", list[int]()
    fresh(photos, out)
    os.utime(photos / "a.png", ns=(1, 1))
    segment([photos], out, resume=True, progress=lambda *counts: done.append(counts[0]))
    assert done == [len(NAMES)], "nothing was left to do"
    assert contents(out) == fresh(photos, tmp_path / "fresh"), "the journal knows the new time"


@pytest.mark.parametrize(
    "missing", ["a-overlay.png", "b-masks.csv", "sub/c-masks/002.png", "sub/a-masks/001.png", "coco.json"]
)
def test_results_that_are_missing_are_made_again(photos: Path, tmp_path: Path, missing: str) -> None:
    out = tmp_path / "out"
    before = fresh(photos, out)
    (out / missing).unlink()
    segment([photos], out, resume=True)
    assert contents(out) == before


@pytest.mark.parametrize("inputs", [["photos"], ["photos/a.png", "photos/b.png", "photos/sub"], ["photos/**/*.png"]])
def test_a_picture_that_is_gone_is_bad_and_its_results_are_not_delivered(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str]
) -> None:
    """Whether it was found in a folder or named itself; when it is back, it is done."""
    monkeypatch.chdir(tmp_path)
    out = Path("out")
    assert segment(inputs, out).bad == []
    before = contents(out)
    (photos / "b.png").rename("away.png")
    report = segment(inputs, out, resume=True)
    assert [each.source for each in report.bad] == ["photos/b.png"]
    assert report.bad[0].reason.startswith("image must be an existing file, got photos/b.png;")
    assert [each.file_name for each in read_coco(out / "coco.json")] == [
        f"photos/{name}.png" for name in NAMES if name != "b"
    ]
    assert not list(out.glob("b-*"))
    Path("away.png").rename(photos / "b.png")
    assert segment(inputs, out, resume=True).bad == []
    assert contents(out) == before


def test_a_picture_that_became_damaged_takes_its_results_along(photos: Path, tmp_path: Path) -> None:
    for how in ("resume", "force"):
        out = tmp_path / how
        paint(photos / "b.png")
        fresh(photos, out)
        (photos / "b.png").write_bytes(b"\x89PNG damaged")
        report = segment([photos], out, **{how: True})
        assert not (out / "b-masks").exists()
        assert [Path(each.source).name for each in report.bad] == ["b.png"]
        assert contents(out) == fresh(photos, tmp_path / "fresh")


def test_pictures_that_are_new_are_refused_by_name(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = fresh(photos, out)
    paint(photos / "new.png")
    (photos / "a.png").unlink()
    with pytest.raises(InputError, match=r"the same 4 pictures as before, got 4, and a difference at .*(new|a)\.png"):
        segment([photos], out, resume=True)
    assert contents(out) == before


def test_the_journal_of_an_earlier_version_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    connection = sqlite3.connect(tmp_path / "out/batch.sqlite")
    connection.executescript(
        "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE pictures (number INTEGER PRIMARY KEY, source TEXT NOT NULL, error TEXT, result BLOB);"
    )
    connection.close()
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match=r"a journal of this version of mobilesam, .*; .*start again with --force"):
        segment([photos], tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == before
    segment([photos], tmp_path / "out", force=True)
    assert contents(tmp_path / "out") == fresh(photos, tmp_path / "fresh")


def test_a_run_that_was_killed_before_it_began_goes_on(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/batch.sqlite").touch()
    segment([photos], tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == fresh(photos, tmp_path / "fresh")


def test_kills_while_pictures_change_end_as_a_run_over_the_last_ones(photos: Path, tmp_path: Path) -> None:
    """``python -m benchmarks.batch_changes`` does it twenty times with the real model."""
    chance = random.Random(7)
    for number in range(8):
        paint(photos / f"more/{number}.png", shift=number)
    for kill in range(KILLS):
        process = start("batch_runs", photos, "out", 2, cwd=tmp_path)
        assert process.stdout is not None
        first = int(process.stdout.readline())
        for _ in range(1 + kill):
            process.stdout.readline()
        process.kill()
        assert process.communicate()[1] == ""
        for path in chance.sample(sorted(photos.rglob("*.png")), 4):
            paint(path, shift=10 + kill)
        assert first < len(NAMES) + 8
    process = start("batch_runs", photos, "out", 2, cwd=tmp_path)
    assert (process.communicate()[1], process.returncode) == ("", 0)
    assert contents(tmp_path / "out") == fresh(photos, tmp_path / "fresh")
