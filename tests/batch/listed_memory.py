"""A run that segments nothing: prints the peak memory in MB of a process that lists images and records their results.

python -m tests.batch.listed_memory INPUT OUT
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mobilesam.batch import listed_run
from mobilesam.batch.fingerprint import Fingerprint, ImageFile
from mobilesam.batch.journal import pack
from mobilesam.batch.tasks import Work
from mobilesam.formats.masked_image import MaskedImage
from mobilesam.storage import place
from tests.robustness.batch_runs import ColorChoice, segment


class NoWork(Work):
    """Reads the images of archives, and nothing else."""

    def __init__(self, *_: object) -> None:
        pass

    def read(self, task):
        return ImageFile(b"", Fingerprint(0, 0, ""))

    def decode(self, task, content):
        return None

    def write(self, task, image, computed):
        return pack(MaskedImage(task.file_name, (64, 96), []))


if __name__ == "__main__":
    listed_run.StoredSegmentation = NoWork
    report = segment([sys.argv[1]], place(sys.argv[2]), model=ColorChoice(), formats=("coco",))
    assert not report.bad
    # The figure of getrusage includes the memory of the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(report.done, int(peak[1]) // 1000)  # noqa: T201 (to the test)
