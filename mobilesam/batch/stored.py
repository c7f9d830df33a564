"""The work of a run whose images are listed in parts: segment an image, and write its files to any storage."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from mobilesam import storage
from mobilesam.arrays import UInt8Array
from mobilesam.batch.plan import files_of
from mobilesam.batch.segmentation import Everything, ModelChoice, Prompted, Segmentation, Segmented
from mobilesam.batch.tasks import Task
from mobilesam.formats.naming import STDIN, Names
from mobilesam.formats.output import PER_MASK
from mobilesam.storage import Place


class StoredSegmentation(Segmentation):
    """Segment images, and write their files into a folder.

    again: whether there may be files of an earlier run with more masks, which are removed.
    """

    def __init__(
        self,
        choice: ModelChoice,
        settings: Everything | Prompted,
        formats: Sequence[str],
        labels: Sequence[str],
        out: Place,
        again: bool,
        embeddings: Place | None = None,
    ) -> None:
        super().__init__(choice, settings, formats, labels, None, embeddings)
        self._out, self._again = out, again

    def write(self, task: Task, image: UInt8Array, computed: Segmented) -> bytes:
        """Write the files in a temporary folder and copy them, and return the masks for the journal."""
        with tempfile.TemporaryDirectory(prefix="mobilesam-") as name:
            folder = Path(name)
            # The files do not refer to the temporary folder: they call the image by its name in the results.
            local = replace(task, source=STDIN, names=Names(folder / task.names.folder, task.names.stem))
            packed = super().write(local, image, computed)
            written = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
            for relative, path in sorted(written.items()):
                storage.upload(path, storage.join(self._out, relative))
        if self._again:
            remove_masks(task, self._formats, self._out, keep=written)
        return packed


def remove_masks(task: Task, formats: Sequence[str], out: Place, keep: Collection[str]) -> None:
    """Remove the numbered masks of an image, but for some paths in the folder of the results."""
    for word in [word for word in formats if word in PER_MASK]:
        (first,) = files_of(task, [word]).written(1)
        folder = first.parent.as_posix()
        for stored in storage.walk(storage.join(out, folder)):
            if re.fullmatch(r"[0-9]{3,}\.png", stored.name) and f"{folder}/{stored.name}" not in keep:
                storage.remove(storage.join(out, f"{folder}/{stored.name}"))
