"""A batch removes nothing of others from the folder of its results, and has it for itself."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from mobilesam.batch.folder import one_run
from mobilesam.errors import InputError
from mobilesam.files import write_bytes
from tests.robustness.batch_runs import contents, paint, run, segment, start

OF_OTHERS = (".movie.partial.mp4", ".a-overlay.3f2a.partial.png", ".mobilesam-0123456789abcdef0123456789abcdef")


def copy_if_there(source: str, target: str) -> None:
    """Copy a file, unless it was moved since its folder was listed."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with three images."""
    for name in "abc":
        paint(tmp_path / f"photos/{name}.png")
    return tmp_path / "photos"


def test_partial_files_of_others_survive_and_block_nothing(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in OF_OTHERS:
        write_bytes(out / name, b"mine")
        (out / f"{name}.d.partial.png").mkdir()
        write_bytes(out / f"{name}.d.partial.png/inside", b"mine")
    mine = contents(out)
    (photos / "bad.png").write_bytes(b"no image")
    (out / "bad-masks").mkdir()
    segment([photos], out)
    segment([photos], out, force=True)
    segment([photos], out, resume=True)
    assert mine.items() <= contents(out).items()
    assert (out / "bad-masks").is_dir()


def test_what_a_killed_run_left_is_removed_and_nothing_else(photos: Path, tmp_path: Path) -> None:
    """It is killed in the middle of writing, whichever way the run continues."""
    segment([photos], tmp_path / "whole")
    for mode in ("resume", "force"):
        out = tmp_path / mode

        def progress(done: int, total: int, bad: int, out: Path = out) -> None:
            (unfinished,) = out.glob(".mobilesam-????????????????????????????????")
            (unfinished / ".a-overlay.0123.partial.png").write_bytes(b"half")
            # As if it were killed now; meanwhile files of the next image come and go.
            shutil.copytree(out, tmp_path / "snapshot", copy_function=copy_if_there, dirs_exist_ok=True)

        segment([photos], out, progress=progress)
        shutil.rmtree(out)
        (tmp_path / "snapshot").rename(out)
        write_bytes(out / OF_OTHERS[0], b"mine")
        assert any(path.endswith(".0123.partial.png") for path in contents(out))
        segment([photos], out, **{mode: True})
        assert contents(out) == contents(tmp_path / "whole") | {OF_OTHERS[0]: b"mine"}
        assert not list(out.rglob(".mobilesam*"))


def test_results_may_span_two_file_systems(photos: Path, tmp_path: Path) -> None:
    """A folder of the results is a link to another file system; nothing unfinished is left on either."""
    paint(photos / "sub/d.png")
    segment([photos], tmp_path / "whole")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is one file system")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/sub").symlink_to(other)
        assert segment([photos], tmp_path / "out").bad == []
        assert contents(tmp_path / "out/sub") == contents(tmp_path / "whole/sub")
        assert not [*Path(other).rglob(".*"), *(tmp_path / "out").glob(".*")]
    assert contents(tmp_path / "out").items() < contents(tmp_path / "whole").items()


def test_embeddings_leave_partial_files_of_others(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_bytes(out / OF_OTHERS[0], b"mine")
    (out / ".x.partial.npz").mkdir()
    outcome = run("embed", "photos", "--out", "out", "--workers", 1, cwd=tmp_path)
    assert (outcome.returncode, outcome.stderr) == (0, "3 images done, 0 bad\n")
    records = list(out.glob("[!.]*.image.json"))
    assert len(records) == 1, "the files are equal"
    assert sorted(path.name for path in {*out.iterdir()} - {*records} if path.suffix != ".npz") == [OF_OTHERS[0]]
    assert len(list(out.glob("[!.]*.npz"))) == 1, "the images are equal"


@pytest.mark.parametrize("mode", ["--resume", "--force"])
def test_a_second_run_is_refused_while_one_is_at_work(photos: Path, tmp_path: Path, mode: str) -> None:
    """In the middle of a run another process tries to take the folder over, twice."""
    segment([photos], tmp_path / "whole")
    out, refused = tmp_path / "out", []

    def progress(done: int, total: int, bad: int) -> None:
        if done == 1:
            arguments = ["photos", "--everything", "--points-per-side", 4, "--out", "out", "--workers", 1]
            refused.append(run("batch", *arguments, mode, cwd=tmp_path))
            with pytest.raises(InputError, match=r"^Another run is writing into .*out\. Wait until it has finished"):
                segment([photos], out, **{mode.strip("-"): True})

    segment([photos], out, progress=progress)
    (outcome,) = refused
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("error: Another run is writing into out. Wait until it has finished, or choose ")
    assert contents(out) == contents(tmp_path / "whole")
    assert not list(out.glob(".*")), "no lock file is left"


def test_the_lock_of_a_killed_run_is_free(photos: Path, tmp_path: Path) -> None:
    segment([photos], tmp_path / "whole")
    killed = start("batch_runs", photos, "out", 2, cwd=tmp_path)
    assert killed.stdout is not None
    assert [int(killed.stdout.readline()) for _ in range(2)] == [0, 1]
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    with one_run(tmp_path / "out"):
        pass
    segment([photos], tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_masks_of_others_are_not_overwritten_or_removed_without_force(photos: Path, tmp_path: Path) -> None:
    """An image with two masks would remove the third, and overwrite the second, of somebody else."""
    out = tmp_path / "out"
    for number in ("002", "007"):
        write_bytes(out / f"b-masks/{number}.png", b"mine")
    with pytest.raises(InputError, match=r"output file must not exist yet, got .*b-masks/002\.png; .* --force"):
        segment([photos], out)
    assert sorted(contents(out)) == ["b-masks/002.png", "b-masks/007.png"]
    write_bytes(out / "b-masks/notes.txt", b"mine")
    segment([photos], out, force=True)
    assert sorted(path.name for path in (out / "b-masks").iterdir()) == ["001.png", "002.png", "notes.txt"]


def test_a_file_of_one_photo_never_takes_the_place_of_that_of_all(photos: Path, tmp_path: Path) -> None:
    paint(photos / "coco.png")
    with pytest.raises(InputError, match=r"output file must be written once, got .*coco\.json of two formats; rename"):
        segment([photos], tmp_path / "out", formats=("coco", "labelme"))
    assert not (tmp_path / "out").exists()
