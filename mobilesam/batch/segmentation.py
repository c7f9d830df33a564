"""The work of ``mobilesam batch``: segment an image by its prompts or in everything mode, and write its files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mobilesam import loading
from mobilesam.arrays import UInt8Array
from mobilesam.automatic import SamAutomaticMaskGenerator
from mobilesam.batch.fingerprint import ImageFile
from mobilesam.batch.journal import pack
from mobilesam.batch.plan import files_of
from mobilesam.batch.tasks import Task, Work
from mobilesam.errors import InputError, sentence
from mobilesam.files import unfinished_in
from mobilesam.masks.records import MaskRecord
from mobilesam.model import MaskModel
from mobilesam.segment import segment_objects


@dataclass(frozen=True)
class ModelChoice:
    """The arguments of :func:`mobilesam.load`, which each worker calls."""

    model: str | None = None
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    provider: str | None = None
    pin_threads: bool = False

    def load(self) -> MaskModel:
        """Return the model."""
        return loading.load(
            self.model, self.backend, self.device, self.threads, self.provider, pin_threads=self.pin_threads
        )

    def settings(self) -> dict[str, str | None]:
        """Return what the results depend on, for the journal. Threads do not change them and are None."""
        return {
            "model": self.digest(),
            "backend": self.backend,
            "device": self.device,
            "threads": None,
            "provider": self.provider,
        }

    def digest(self) -> str:
        """Return the sha256 of the files of the model."""
        named = loading.find_export(self.model) or [loading.find_model(self.model)]
        files = [file for path in named for file in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]
        digest = hashlib.sha256()
        for file in files:
            with Path(file).open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class Everything:
    """Everything mode: arguments of SamAutomaticMaskGenerator, and which masks to keep.

    min_area: in pixels. max_masks: the most masks of an image, best first; None for all.
    """

    mode: str = "balanced"
    points_per_side: int = 32
    tile_size: int | None = None
    min_area: int = 0
    max_masks: int | None = None


@dataclass(frozen=True)
class Prompted:
    """One mask for each prompt.

    select: see :func:`mobilesam.segment.segment_objects`.
    fast_padding: see SamPredictor.
    """

    select: str | None = None
    fast_padding: bool = False


class Segmentation(Work):
    """Load the model and segment images; see :mod:`mobilesam.batch.pipeline`."""

    def __init__(
        self,
        choice: ModelChoice,
        settings: Everything | Prompted,
        formats: Sequence[str],
        labels: Sequence[str],
        unfinished: Path,
    ) -> None:
        self._model = choice.load()
        self._settings, self._formats, self._labels, self._unfinished = settings, formats, labels, unfinished
        if isinstance(settings, Everything):
            self._generator = SamAutomaticMaskGenerator(
                self._model,
                settings.points_per_side,
                output_mode="uncompressed_rle",
                mode=settings.mode,
                tile_size=settings.tile_size,
            )

    def read(self, task: Task) -> ImageFile:
        """Return the image file, whose path must be text that every format can store."""
        try:
            task.source.encode()
        except UnicodeEncodeError as error:
            actual = repr(task.source)
            raise InputError(sentence("the path of an image", "be valid Unicode", actual, "rename the file")) from error
        return super().read(task)

    def compute(self, task: Task, image: UInt8Array) -> list[MaskRecord]:
        """Return the masks as uncompressed RLE, those of prompts in their order."""
        settings = self._settings
        if isinstance(settings, Everything):
            records = self._generator.generate(image)
            return [record for record in records if record["area"] >= settings.min_area][: settings.max_masks]
        if not task.prompts:
            return []
        embedding = self._model.encode(image, fast_padding=settings.fast_padding)
        prompts = [prompt.in_pixels((image.shape[0], image.shape[1])) for prompt in task.prompts]
        return [mask for (mask,) in segment_objects(self._model, embedding, prompts, select=settings.select)]

    def write(self, task: Task, image: UInt8Array, computed: list[MaskRecord]) -> bytes:
        """Write the files, and return the masks for the journal."""
        prompts = tuple(prompt.in_pixels((image.shape[0], image.shape[1])) for prompt in task.prompts)
        files = files_of(replace(task, prompts=prompts), self._formats, self._labels)
        with unfinished_in(self._unfinished):
            files.write(image, computed)
        return pack(files.masked_image((image.shape[0], image.shape[1]), computed))
