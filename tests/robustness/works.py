"""Work without a model that needs more memory than there is."""

from __future__ import annotations

import numpy as np

from mobilesam.batch.tasks import Task
from tests.batch.works import NameWork

HUGE = 2**26  # bytes


class HugeWork(NameWork):
    """Answers as NameWork does, and with a result of 64 megabytes where the name says huge."""

    def write(self, task: Task, image: np.ndarray, computed: str) -> bytes:
        result = super().write(task, image, computed)
        return result.ljust(HUGE) if "huge" in task.source else result


def without_memory() -> NameWork:
    raise MemoryError
