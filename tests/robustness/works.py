"""Work without a model that fails, mostly as it needs more memory than there is."""

from __future__ import annotations

from typing import Any

import numpy as np

from mobilesam.batch.fingerprint import ImageFile
from mobilesam.batch.tasks import Task
from tests.batch.works import NameWork

HUGE = 2**26  # bytes


class HugeWork(NameWork):
    """Works like NameWork, with a result of 64 megabytes where the name says huge."""

    def write(self, task: Task, image: np.ndarray, computed: str) -> bytes:
        result = super().write(task, image, computed)
        return result.ljust(HUGE) if "huge" in task.source else result


class FailingWork(NameWork):
    """Works like NameWork, and raises an error in one of its steps where the name says failing."""

    def __init__(self, step: str, error: Exception) -> None:
        super().__init__()
        self.step, self.error = step, error

    def _fail(self, step: str, task: Task) -> None:
        if step == self.step and "failing" in task.source:
            raise self.error

    def read(self, task: Task) -> ImageFile:
        self._fail("read", task)
        return super().read(task)

    def decode(self, task: Task, content: bytes) -> np.ndarray:
        self._fail("decode", task)
        return super().decode(task, content)

    def compute(self, task: Task, image: np.ndarray, encoded: Any) -> str:
        self._fail("compute", task)
        return super().compute(task, image, encoded)

    def write(self, task: Task, image: np.ndarray, computed: str) -> bytes:
        self._fail("write", task)
        return super().write(task, image, computed)


def without_memory() -> NameWork:
    raise MemoryError
