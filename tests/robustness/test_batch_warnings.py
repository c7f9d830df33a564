"""Warnings about images are in their outcomes; those of the caller's own code are not touched."""

from __future__ import annotations

import json
import threading
import warnings
from pathlib import Path

import pytest
from PIL import Image

from mobilesam.batch import embed_images
from mobilesam.batch.pipeline import run_pipeline, take_from
from tests.automatic.color_model import squares
from tests.batch.works import NameWork, tasks
from tests.robustness.batch_runs import ColorChoice, run, segment

NAMES = ("warned", "a", "crooked", "lossy", "lossy")


@pytest.fixture
def crooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image with damaged EXIF, about which Pillow warns, in the current folder."""
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    Image.fromarray(squares((64, 96), [(8, 8, 40, 48)])).save("crooked.jpg", exif=exif.tobytes()[:20])
    return Path("crooked.jpg")


def test_the_callers_warnings_are_the_callers() -> None:
    texts = []
    function = warnings.warn
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters), warnings.showwarning
        for number, outcome in enumerate(run_pipeline(NameWork(), take_from(tasks(*NAMES)))):
            assert (list(warnings.filters), warnings.showwarning) == before
            texts += outcome.warnings
            warnings.warn(f"my own {number}", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == [f"my own {number}" for number in range(len(NAMES))]
    assert {warning.filename for warning in caught} == {__file__}
    assert texts == [
        "warned: a box lies outside",
        "crooked: its EXIF is damaged",
        "holes are lost",
        "holes are lost",
    ]
    assert warnings.warn is function


def test_the_callers_filters_do_not_reach_the_steps() -> None:
    """They run in threads while the caller has control, which may make errors of its own warnings then."""
    texts = []
    outcomes = run_pipeline(NameWork(), take_from(tasks(*NAMES)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for outcome in outcomes:
            texts += outcome.warnings
            with pytest.raises(UserWarning, match="my own"):
                warnings.warn("my own", UserWarning, stacklevel=1)
    assert len(texts) == 4


def test_two_runs_at_once_leave_warnings_as_they_were() -> None:
    function = warnings.warn
    first, second = (run_pipeline(NameWork(), take_from(tasks("a", "warned", "b"))) for _ in range(2))
    next(first), next(second)
    thread = threading.Thread(target=lambda: list(first))
    thread.start()
    thread.join()
    assert [outcome.warnings for outcome in second] == [("warned: a box lies outside",), ()]
    assert warnings.warn is function


def test_warnings_of_reading_reach_the_caller(crooked: Path) -> None:
    batch, embed = list[str](), list[str]()
    segment([crooked], Path("out"), on_warning=batch.append)
    model = ColorChoice()
    for name in ("one", "two"):
        list(embed_images([str(crooked)], Path("embeddings"), model=model, on_warning=embed.append))
        Path("embeddings").rename(name)
    assert batch == ["crooked.jpg: Corrupt EXIF data.  Expecting to read 12 bytes but only got 4. "]
    assert embed == batch * 2


@pytest.mark.parametrize("workers", [1, 2])
def test_the_command_embed_prints_them(crooked: Path, workers: int) -> None:
    Path("other.jpg").write_bytes(crooked.read_bytes())
    outcome = run("embed", "crooked.jpg", "other.jpg", "--out", "e", "--workers", workers, "--json", cwd=Path())
    assert sorted(json.loads(outcome.stdout)["embeddings"]) == ["crooked.jpg", "other.jpg"]
    *lines, summary = outcome.stderr.splitlines()
    assert {line.partition(" Corrupt")[0] for line in lines} == {"warning: crooked.jpg:", "warning: other.jpg:"}
    assert (len(lines), summary) == (2, "2 images done, 0 bad")
