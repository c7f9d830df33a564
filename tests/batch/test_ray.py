"""Ray on this machine: the same results, although a worker is killed on the way."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.process_tree import ray_actors
from mobilesam.batch import ModelChoice, segment_pictures
from mobilesam.prompts.file import ObjectPrompt, PromptFile

WORDS = ("coco", "parquet", "overlay")
COUNT = 16


def settings() -> list[object]:
    """Return what Ray logs and shows in this process."""
    import ray.data

    loggers = [logging.getLogger("ray"), logging.getLogger("ray.data")]
    formatters = [handler.formatter for handler in loggers[0].handlers]
    bars = ray.data.DataContext.get_current().enable_progress_bars
    return [bars, *formatters, *((logger.level, list(logger.handlers)) for logger in loggers)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")  # in Ray
def test_a_killed_worker_loses_and_doubles_no_picture(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    with Image.open(photo("chelsea.png")) as cat:
        for number in range(COUNT):
            cat.crop((number, 0, 200 + number, 150)).save(f"photos/{number:02}.png")
    Path("photos/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    prompts = PromptFile(objects=(ObjectPrompt(box=(20, 20, 150, 130)), ObjectPrompt(((100, 75),), (1,))))
    killed = []

    def kill_one(done: int, total: int, bad: int) -> None:
        if done and not killed and (running := ray_actors(os.getpid())):
            os.kill(running[0], signal.SIGKILL)
            killed.extend(running[:1])

    settings()  # imports Ray, which sets up its loggers
    own = logging.getLogger("ray")
    monkeypatch.setattr(own, "level", logging.CRITICAL)
    assert own.handlers
    for handler in own.handlers:
        monkeypatch.setattr(handler, "formatter", logging.Formatter("mine: %(message)s"))
    before = settings()
    assert before[0] is True
    how = {"prompts": prompts, "words": WORDS, "model": ModelChoice(threads=1)}
    report = segment_pictures(["photos"], Path("ray"), **how, workers=2, engine="ray", progress=kill_one)
    assert settings() == before
    assert killed, "no worker was there to be killed"
    assert report.done == COUNT
    assert [Path(each.source).name for each in report.bad] == ["broken.jpg"]
    segment_pictures(["photos"], Path("local"), **how)
    assert contents(Path("ray")) == contents(Path("local"))
