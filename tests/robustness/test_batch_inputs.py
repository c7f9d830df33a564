"""Files in a folder that are no images, or have names that few programs expect: none stops or delays a batch."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from mobilesam import files
from mobilesam.batch import fingerprint
from mobilesam.batch.sources import find_images
from mobilesam.errors import InputError
from mobilesam.image.read import read_image
from tests.robustness.batch_runs import contents, paint, run, segment


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image."""
    monkeypatch.chdir(tmp_path)
    paint(Path("photos/a.png"))
    return Path("photos")


def paths_of(*inputs: object) -> list[str]:
    return [source.path for source in find_images([*map(str, inputs)], Path("out"))]


def test_pipes_sockets_and_devices_of_a_folder_are_left_out(photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(photos / "socket.png"))
        (photos / "device.png").symlink_to("/dev/zero")
        assert paths_of(photos) == paths_of("photos/*") == paths_of("photos/**") == ["photos/a.png"]
        assert segment([photos], Path("out")).done == 1


def test_pipes_and_devices_that_are_named_are_bad_photos_and_not_opened(photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    Path("photos/list.txt").write_text("a.png\npipe.png\n/dev/zero\n/dev/tty\n")
    os.mkfifo("pipe.txt")
    report = segment(["photos/list.txt", "photos/pipe.png", "pipe.txt"], Path("out"))
    assert report.done == 1
    kinds = {each.source: each.reason for each in report.bad}
    assert kinds.keys() == {"photos/pipe.png", "/dev/zero", "/dev/tty", "pipe.txt"}
    assert kinds["photos/pipe.png"].startswith("image must be a readable file, got 'photos/pipe.png' (a pipe, not a ")
    assert "(a device, not a regular file)" in kinds["/dev/zero"]


def test_a_photo_that_becomes_a_pipe_is_bad_on_resume(photos: Path) -> None:
    paint(photos / "b.png")
    segment([photos], Path("out"))
    (photos / "a.png").unlink()
    os.mkfifo(photos / "a.png")
    report = segment([photos], Path("out"), resume=True)
    assert (report.done, [each.source for each in report.bad]) == (1, ["photos/a.png"])
    assert "can no longer be read (a pipe, not a regular file). Its earlier results are kept." in report.bad[0].reason


def test_a_tiff_too_large_for_memory_is_read_from_its_path(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``predict`` reads it, whatever follows its first frame; other files of this size are refused as there."""
    frame = Image.open(photos / "a.png")
    frame.save(photos / "frames.tif", save_all=True, append_images=[frame] * 8)
    size = (photos / "frames.tif").stat().st_size
    whole = segment([photos], Path("whole"))
    monkeypatch.setattr(fingerprint, "_MOST_BYTES", size - 1)
    (photos / "a.png").rename("a.png")
    with Path("photos/large.png").open("wb") as file:
        file.write(Path("a.png").read_bytes())
        file.truncate(2**30 + 1)  # takes no place on the disk
    report = segment([photos], Path("out"))
    assert (whole.done, report.done) == (2, 1)
    assert contents(Path("out"))["frames-masks/001.png"] == contents(Path("whole"))["frames-masks/001.png"]
    with pytest.raises(InputError, match="image must have at most 1 GiB, unless it is a TIFF") as refusal:
        read_image("photos/large.png")
    assert report.bad == [("photos/large.png", str(refusal.value))]
    os.utime(photos / "frames.tif", ns=(1, 1))
    assert segment([photos], Path("out"), resume=True).done == 1
    with (photos / "frames.tif").open("ab") as file:
        file.write(b"more")
    texts = list[str]()
    segment([photos], Path("out"), resume=True, on_warning=texts.append)
    expected = "images changed since they were processed: 1, such as photos/frames.tif; they are processed again"
    assert texts == [expected]


def test_a_size_just_above_the_limit_is_told_from_it(photos: Path) -> None:
    path = photos / "large"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)
    with pytest.raises(OSError, match="2,147,483,649 bytes, more than the 2,147,483,648 bytes that are read"):
        files.read_bytes(path, 2**31)


def test_links_that_lead_in_circles_are_not_walked(photos: Path) -> None:
    """Two links that double the paths at each level would make 2 ** 40 of them."""
    for name in ("one", "two"):
        (photos / name).symlink_to(".")
    (photos / "self").symlink_to("self")
    (photos / "self.png").symlink_to("self.png")
    (photos / "nowhere.png").symlink_to("absent.png")
    expected = ["photos/a.png", "photos/nowhere.png", "photos/self.png"]
    assert paths_of(photos) == paths_of("photos/**/*.png") == expected
    report = segment([photos], Path("out"))
    assert (report.done, [each.source for each in report.bad]) == (1, expected[1:])
    report = segment(["photos/self", photos], Path("out2"))
    assert (report.done, len(report.bad)) == (1, 3)


def test_patterns_match_as_glob_does(photos: Path) -> None:
    for name in ("photos/.hidden/b.png", "photos/.c.png", "photos/deep/er/d.png"):
        paint(Path(name))
    absolute = Path("photos/a.png").absolute()
    assert paths_of("photos/*.png") == ["photos/a.png"]
    assert paths_of("photos/**") == ["photos/a.png", "photos/deep/er/d.png"]
    assert paths_of("photos/**.png") == ["photos/a.png"]
    assert paths_of("photos/.*/*.png") == ["photos/.hidden/b.png"]
    assert paths_of("photos/.hidden/*") == ["photos/.hidden/b.png"]
    assert paths_of("photos/../photos/d*/*/[a-d].png") == ["photos/../photos/deep/er/d.png"]
    assert paths_of(absolute.parent / "?.png") == [str(absolute)]


def test_a_list_with_nul_characters_is_refused(photos: Path) -> None:
    Path("list.txt").write_bytes(b"photos/a.png\nphotos/a.png\0photos/b.png\0")
    outcome = run("batch", "list.txt", "--everything", "--out", "out", cwd=Path())
    message = "error: Line 2 of the list list.txt contains a NUL character. Write one path per line, in UTF-8."
    assert (outcome.returncode, outcome.stderr.startswith(message)) == (1, True)
    Path("list.txt").write_text("photos/a.png\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"^Line 1 of the list list\.txt contains a NUL character"):
        paths_of("list.txt")
    Path("list.txt").unlink()
    os.mkfifo("pipe")
    Path("list.txt").symlink_to("pipe")
    assert paths_of("list.txt") == ["list.txt"], "a pipe is no list, and not opened"


def test_names_that_are_not_unicode_are_bad_photos(photos: Path) -> None:
    """In a folder, in a list, on resume; the rest goes on, and stdout has JSON."""
    odd = os.fsdecode(b"photos/caf\xe9.png")
    (photos / "a.png").write_bytes((photos / "a.png").read_bytes())
    Path(odd).write_bytes((photos / "a.png").read_bytes())
    Path("list.txt").write_bytes(b"photos/a.png\nphotos/caf\xe9.png\n")
    assert paths_of("list.txt") == ["photos/a.png", odd]
    arguments = ["--everything", "--points-per-side", 4, "--format", "coco,parquet,mask,csv,labelme", "--workers", 1]
    expected = None
    for where in (["photos"], ["list.txt"], ["photos", "--resume"]):
        outcome = run("batch", *where, *arguments, "--out", f"out-{where[0]}", "--json", cwd=Path())
        assert outcome.returncode == 1
        document = json.loads(outcome.stdout)
        assert document["done"] == 1
        assert [error["image"] for error in document["errors"]] == [odd]
        assert (
            "error: the path of an image must be valid Unicode, got 'photos/caf\\udce9.png'; rename" in outcome.stderr
        )
        expected = expected or contents(Path("out-photos"))
        assert contents(Path("out-photos")) == expected


def test_a_folder_of_results_may_have_any_name(photos: Path) -> None:
    out = os.fsdecode(b"r\xe9sultats")
    for command, more in (
        ("batch", ["--everything", "--points-per-side", 4, "--format", "coco,csv,mask"]),
        ("embed", []),
    ):
        outcome = run(command, "photos", *more, "--out", out, "--workers", 1, cwd=Path())
        assert (outcome.returncode, outcome.stderr) == (0, "1 image done, 0 bad\n")
        assert all(Path(line).is_file() for line in outcome.stdout.splitlines())
    odd = os.fsdecode(b"photos/caf\xe9.png")
    Path(odd).write_bytes((photos / "a.png").read_bytes())
    assert run("embed", odd, "--out", out, "--workers", 1, cwd=Path()).returncode == 0, "its name is in no file"


def test_a_name_too_long_for_results_is_a_bad_photo(photos: Path) -> None:
    name = photos / ("x" * 248 + ".png")
    paint(name)
    report = segment([photos], Path("out"))
    assert (report.done, [each.source for each in report.bad]) == (1, [str(name)])
    assert "File name too long" in report.bad[0].reason
