"""Work without a model, for worker processes: what it does to an image is in the image's name."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.batch.fingerprint import Fingerprint, ImageFile
from mobilesam.batch.tasks import Task, Work
from mobilesam.errors import FormatLossWarning, InputError
from mobilesam.formats.naming import Names


def tasks(*names: str) -> list[Task]:
    return [Task(number, name, name, Names(Path("out"), name)) for number, name in enumerate(names)]


class NameWork(Work):
    """Returns the name of the image in capitals; bad, deadly, full, warned and slow ones do as they are called."""

    def __init__(self) -> None:
        self.open = self.open_most = 0

    def read(self, task: Task) -> ImageFile:
        self.open += 1
        self.open_most = max(self.open_most, self.open)
        if "vanished" in task.source:
            raise InputError("image must be an existing file, got none; check the path")
        return ImageFile(task.source.encode(), Fingerprint(len(task.source), 0, ""))

    def decode(self, task: Task, content: bytes) -> np.ndarray:
        assert content == task.source.encode()
        if "bad" in task.source:
            raise InputError("image must be an image, got none; get it again")
        if "crooked" in task.source:
            warnings.warn("its EXIF is damaged", UserWarning, stacklevel=1)
        return np.zeros((2, 3, 3), np.uint8)

    def compute(self, task: Task, image: np.ndarray, encoded: Any) -> str:
        if "deadly" in task.source:
            os.kill(os.getpid(), signal.SIGKILL)
        if "large" in task.source:
            raise MemoryError
        if "slow" in task.source:
            time.sleep(0.05)
        if "warned" in task.source:
            warnings.warn("a box lies outside", UserWarning, stacklevel=1)
        return task.source.upper()

    def write(self, task: Task, image: np.ndarray, computed: str) -> bytes:
        if "full" in task.source:
            raise InputError("no space") from OSError(28, "No space left on device")
        if "many" in task.source:
            raise InputError("too many masks")
        if "heavy" in task.source:
            raise MemoryError
        if "long" in task.source:
            raise InputError("no such name") from OSError(errno.ENAMETOOLONG, "File name too long")
        if "lossy" in task.source:
            warnings.warn("holes are lost", FormatLossWarning, stacklevel=1)
        self.open -= 1
        return computed.encode()


class BrokenWork:
    def __init__(self) -> None:
        raise InputError("the model cannot be loaded")


def killed_while_made() -> NameWork:
    os._exit(3)


def note_gpus(folder: Path) -> None:
    """Write which GPUs Ray has given to this process, if it is one of Ray's."""
    import ray

    if ray.is_initialized():
        seen = [ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")]
        (folder / f"{os.getpid()}.json").write_text(json.dumps(seen))


def gpus_in(folder: Path) -> list[list[Any]]:
    """Return what processes have written with :func:`note_gpus`."""
    return sorted(json.loads(path.read_text()) for path in folder.iterdir())
