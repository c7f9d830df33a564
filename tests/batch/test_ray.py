"""Ray on this machine: the same results, although a worker is killed on the way."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mobilesam.batch import ModelChoice, SegmentationJob, segment_images
from mobilesam.model import Wrapped
from mobilesam.prompts.file import PromptFile
from mobilesam.prompts.object_prompt import ObjectPrompt
from tests.batch.works import gpus_in, note_gpus
from tests.conftest import ROOT
from tests.shared_models import encode_once

FORMATS = ("coco", "parquet", "overlay")
COUNT = 16


class MortalModel(Wrapped):
    """The same model; the first one that comes to its sixth image kills its process, once in all processes."""

    encoded = 0

    def encode(self, image, **options):
        self.encoded += 1
        if self.encoded == 6:
            with contextlib.suppress(FileExistsError):
                Path("killed").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return self._model.encode(image, **options)


class MortalChoice(ModelChoice):
    """Writes into the folder ``seen`` which GPUs Ray has given to each process that loads the model.

    The model encodes each of two crops once, which takes most of its time; every image has a box of its own.
    """

    def load(self):
        note_gpus(Path("seen"))
        return MortalModel(encode_once(super().load()))


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
def test_a_killed_worker_loses_and_doubles_no_photo(photo, tmp_path, monkeypatch):
    """Ray is started by the run, with two GPUs although this machine may have none, and ended with it."""
    import ray

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"GPU": 2}')
    Path("photos").mkdir()
    Path("seen").mkdir()
    with Image.open(photo("chelsea.png")) as cat:
        for number in range(COUNT):
            cat.crop((number % 2, 0, 200 + number % 2, 150)).save(f"photos/{number:02}.png")
    Path("photos/broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    box, point = ObjectPrompt(box=(20, 20, 150, 130)), ObjectPrompt(((100, 75),), (1,))
    objects = {f"{number:02}.png": (replace(box, box=(20 + number, 20, 150, 130)), point) for number in range(COUNT)}
    prompts = PromptFile(objects | {"broken.jpg": (point,)})
    gpus = set()

    def look(*_: int) -> None:
        if ray.is_initialized():
            gpus.add(ray.cluster_resources()["GPU"])

    settings()  # imports Ray, which sets up its loggers
    own = logging.getLogger("ray")
    monkeypatch.setattr(own, "level", logging.CRITICAL)
    assert own.handlers
    for handler in own.handlers:
        monkeypatch.setattr(handler, "formatter", logging.Formatter("mine: %(message)s"))
    before = settings()
    assert before[0] is True
    job = {"prompts": prompts, "formats": FORMATS, "model": MortalChoice(backend="onnx", device="cpu", threads=1)}
    report = segment_images(SegmentationJob(["photos"], Path("ray"), **job, workers=2, engine="ray"), progress=look)
    assert settings() == before
    assert Path("killed").exists()
    assert not ray.is_initialized()
    assert gpus == {2}
    seen = gpus_in(Path("seen"))
    assert seen == [[[], None]] * len(seen), "no worker is given a GPU"
    assert len(seen) in (2, 3), "the killed one, the one in its place, and the other one unless it came too late"
    assert report.done == COUNT
    assert [Path(each.source).name for each in report.bad] == ["broken.jpg"]
    segment_images(SegmentationJob(["photos"], Path("local"), **job))
    assert contents(Path("ray")) == contents(Path("local"))
