"""``--resume``: the results are complete, and belong to the current images."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from mobilesam.batch import Everything, StoppedError
from mobilesam.errors import InputError
from mobilesam.formats import read_coco
from mobilesam.model import Capabilities
from mobilesam.prompts.file import PromptFile
from mobilesam.prompts.object_prompt import ObjectPrompt
from tests.automatic.color_model import ColorModel
from tests.robustness.batch_runs import BOX, ColorChoice, contents, paint, segment, start

NAMES = ("a", "b", "sub/a", "sub/c")
KILLS = 3
LENGTH = 2000  # bytes to which files are padded


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with four images."""
    for name in NAMES:
        paint(tmp_path / f"photos/{name}.png")
    return tmp_path / "photos"


def fresh(photos: Path, out: Path) -> dict[str, bytes]:
    """Return what a run over the images that are there now writes."""
    shutil.rmtree(out, ignore_errors=True)
    segment([photos], out)
    return contents(out)


def test_a_photo_that_was_replaced_is_done_again(photos: Path, tmp_path: Path) -> None:
    out, texts = tmp_path / "out", list[str]()
    before = fresh(photos, out)
    paint(photos / "sub/a.png", shift=6)
    segment([photos], out, resume=True, on_warning=texts.append)
    (text,) = texts
    assert text.startswith("images changed since they were processed: 1, such as ")
    assert text.endswith("sub/a.png; they are processed again")
    assert contents(out) == fresh(photos, tmp_path / "fresh")
    assert contents(out)["coco.json"] != before["coco.json"]


@pytest.mark.parametrize("kept", ["size", "mtime"])
def test_a_change_of_size_or_time_is_enough(photos: Path, tmp_path: Path, kept: str) -> None:
    out = tmp_path / "out"
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes().ljust(LENGTH, b"\0"))
    before = fresh(photos, out)
    path = photos / "b.png"
    status = path.stat()
    paint(path, shift=6)
    if kept == "size":
        path.write_bytes(path.read_bytes().ljust(LENGTH, b"\0"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    else:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    now = path.stat()
    assert (now.st_size == status.st_size, now.st_mtime_ns == status.st_mtime_ns) == (kept == "size", kept == "mtime")
    segment([photos], out, resume=True)
    assert contents(out) == fresh(photos, tmp_path / "fresh") != before


def test_a_photo_that_was_only_touched_is_not_done_again(photos: Path, tmp_path: Path) -> None:
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
def test_a_removed_image_is_bad_and_its_results_are_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str]
) -> None:
    """Whether it was found in a folder or named itself, as when a disk is not mounted; nothing is done again."""
    monkeypatch.chdir(tmp_path)
    out = Path("out")
    assert segment(inputs, out).bad == []
    before = contents(out)
    (photos / "b.png").rename("away.png")
    for _ in range(2):
        texts, counts = list[str](), list[tuple[int, ...]]()
        report = segment(inputs, out, resume=True, on_warning=texts.append, progress=lambda *now: counts.append(now))  # noqa: B023
        assert report.done == len(NAMES) - 1
        assert report.bad == [
            (
                "photos/b.png",
                "photos/b.png can no longer be read (No such file or directory). Its earlier results are kept. "
                "Restore the file and run again with --resume, or start again with --force.",
            )
        ]
        assert (texts, counts) == ([], [(len(NAMES) - 1, len(NAMES), 1)])
        assert contents(out) == before
    assert [each.file_name for each in read_coco(out / "coco.json")] == [f"{name}.png" for name in NAMES]
    with pytest.raises(
        StoppedError, match=r"^Stopped at the first bad image\. photos/b\.png can no longer .* --force\.$"
    ):
        segment(inputs, out, resume=True, strict=True)
    assert contents(out) | {"batch.sqlite": b""} == before | {"batch.sqlite": b""}
    Path("away.png").rename(photos / "b.png")
    assert segment(inputs, out, resume=True).bad == []
    assert contents(out) == before


def test_a_disk_that_is_not_mounted_loses_no_results(photos: Path, tmp_path: Path) -> None:
    """All of its images are gone; those elsewhere are done again where they changed."""
    paint(tmp_path / "other/x.png")
    inputs, out = [photos, tmp_path / "other"], tmp_path / "out"
    segment(inputs, out)
    before = contents(out)
    paint(tmp_path / "other/x.png", shift=6)
    photos.rename(tmp_path / "disk")
    photos.mkdir()
    report = segment(inputs, out, resume=True)
    assert (report.done, len(report.bad)) == (1, len(NAMES))
    after = contents(out)
    assert before.keys() == after.keys()
    assert all(after[name] == before[name] for name in before if name[0] in "abs" and name != "batch.sqlite")
    assert after["coco.json"] != before["coco.json"]


def test_images_that_are_not_given_are_not_worked_on(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = fresh(photos, out)
    paint(photos / "sub/a.png", shift=6)
    with pytest.raises(InputError, match=r"it has 4 images, not these 2; the first difference is .*sub"):
        segment([photos / "a.png", photos / "b.png"], out, resume=True)
    assert contents(out) == before


def test_a_photo_that_became_damaged_takes_its_results_along(photos: Path, tmp_path: Path) -> None:
    for mode in ("resume", "force"):
        out = tmp_path / mode
        paint(photos / "b.png")
        fresh(photos, out)
        (photos / "b.png").write_bytes(b"\x89PNG damaged")
        report = segment([photos], out, **{mode: True})
        assert not (out / "b-masks").exists()
        assert [Path(each.source).name for each in report.bad] == ["b.png"]
        assert contents(out) == fresh(photos, tmp_path / "fresh")


def test_photos_that_are_new_are_refused_by_name(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = fresh(photos, out)
    paint(photos / "new.png")
    (photos / "a.png").unlink()
    with pytest.raises(InputError, match=r"it has 4 images, not these 4; the first difference is .*(new|a)\.png"):
        segment([photos], out, resume=True)
    assert contents(out) == before


def test_the_journal_of_an_earlier_version_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    connection = sqlite3.connect(tmp_path / "out/batch.sqlite")
    connection.executescript(
        "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE images (number INTEGER PRIMARY KEY, source TEXT NOT NULL, error TEXT, result BLOB);"
    )
    connection.close()
    before = contents(tmp_path / "out")
    with pytest.raises(
        InputError, match=r"another version of mobilesam wrote its journal\. .*start again with --force"
    ):
        segment([photos], tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == before
    segment([photos], tmp_path / "out", force=True)
    assert contents(tmp_path / "out") == fresh(photos, tmp_path / "fresh")


def test_a_run_that_was_killed_before_it_began_is_resumed(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/batch.sqlite").touch()
    segment([photos], tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == fresh(photos, tmp_path / "fresh")


def test_kills_while_photos_change_end_as_a_run_over_the_last_ones(photos: Path, tmp_path: Path) -> None:
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


class FeedbackModel(ColorModel):
    """Accepts mask input."""

    capabilities = Capabilities(prompt_batch=4, mask_input=True)


class FeedbackChoice(ColorChoice):
    def load(self) -> FeedbackModel:
        return FeedbackModel()


def test_images_with_another_mask_input_are_processed_again(photos: Path, tmp_path: Path) -> None:
    """A mask that is fed back changes results; prompts that differ in nothing else are equal."""
    model = FeedbackChoice()
    out, logits = tmp_path / "out", np.full((1, 256, 256), -8, np.float32)
    prompted = [PromptFile(objects=(ObjectPrompt(box=BOX, mask_input=each),)) for each in (logits, None, logits / 2)]
    assert segment([photos], out, prompts=prompted[0], model=model).bad == []
    before = contents(out)
    for number, other in enumerate(prompted[1:]):
        assert segment([photos], out, prompts=other, model=model, resume=True).bad == []
        fresh = tmp_path / f"fresh-{number}"
        assert segment([photos], fresh, prompts=other, model=model).bad == []
        assert contents(out) == contents(fresh) != before
    same = PromptFile(objects=(ObjectPrompt(box=BOX, mask_input=logits.copy()),))
    assert segment([photos], out, prompts=same, model=model, resume=True).bad == []
    assert contents(out) == before


@pytest.mark.parametrize(
    "other",
    [
        Everything("fast", 8),
        Everything("exact", 4),
        Everything("fast", 4, 48),
        Everything("fast", 4, min_area=1),
        Everything("fast", 4, max_masks=1),
    ],
)
def test_a_run_with_other_settings_of_everything_is_refused(photos: Path, tmp_path: Path, other: Everything) -> None:
    out, settings = tmp_path / "out", Everything("fast", 4)
    segment([photos], out, prompts=None, settings=settings)
    before = contents(out)
    (out / "a-overlay.png").unlink()
    with pytest.raises(InputError, match=r"resumed: settings was {'mode': {'mode': 'fast', .* and is now .*--force"):
        segment([photos], out, prompts=None, settings=other, resume=True)
    assert not (out / "a-overlay.png").exists()
    segment([photos], out, prompts=None, settings=settings, resume=True)
    assert contents(out) == before
