"""Batches of small images with a model that needs no weights: in this process, or as a process of their own."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mobilesam.batch import ModelChoice, Report, SegmentationJob, segment_images
from mobilesam.prompts.file import ObjectPrompt, PromptFile
from mobilesam.storage import Place, place
from tests.automatic.color_model import ColorModel, squares
from tests.conftest import ROOT

HW = (64, 96)
BOX = (8, 8, 40, 48)
PROMPTS = PromptFile(objects=(ObjectPrompt(box=BOX), ObjectPrompt(((80.0, 30.0),), (1,))))
FORMATS = ("coco", "mask", "csv", "overlay")


@dataclass(frozen=True)
class ColorChoice(ModelChoice):
    """Chooses the model without weights."""

    def load(self) -> ColorModel:
        return ColorModel()

    def digest(self) -> str:
        return "colors"


def paint(path: Path, shift: int = 0, hw: tuple[int, int] = HW) -> None:
    """Write an image with two squares, the first one moved to the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x1, y1, x2, y2 = BOX
    Image.fromarray(squares(hw, [(x1 + shift, y1, x2 + shift, y2), (70, 20, 90, 40)])).save(path)


def segment(inputs, out: Place, progress=None, on_warning=None, **job) -> Report:
    """Segment images in this process."""
    job = {"prompts": PROMPTS, "formats": FORMATS, "model": ColorChoice()} | job
    job = SegmentationJob([*map(str, inputs)], out, **job)
    return segment_images(job, progress=progress, on_warning=on_warning)


def start(module: str, *arguments: object, cwd: Path, **options) -> subprocess.Popen[str]:
    """Start a module of the tests as a process; paths are from ``cwd`` on."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", f"tests.robustness.{module}", *map(os.fspath, map(_text, arguments))]
    # A background process ignores Ctrl-C, and so do the processes that it starts.
    listen = {"preexec_fn": functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | listen | options
    return subprocess.Popen(command, cwd=cwd, env=environment, text=True, errors="surrogateescape", **options)


def run(*arguments: object, cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    """Run ``mobilesam`` with the model without weights, which is called ``model.bin``."""
    (cwd / "model.bin").write_bytes(b"weights")
    process = start("color_cli", *arguments, "--model", "model.bin", cwd=cwd, **options)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, those that are hidden too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _text(argument: object) -> str:
    return argument if isinstance(argument, str) else str(argument)


def _tell(done: int, total: int, bad: int) -> None:
    print(done, flush=True)  # noqa: T201 (to the process that waits for it)


if __name__ == "__main__":
    # A run that says how many images are done: PHOTOS OUT WORKERS.
    segment([sys.argv[1]], place(sys.argv[2]), workers=int(sys.argv[3]), resume=True, progress=_tell)
