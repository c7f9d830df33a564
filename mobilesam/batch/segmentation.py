"""The work of a batch: segment an image by its prompts, or everything in it, and write its files."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilesam import loading
from mobilesam.arrays import UInt8Array
from mobilesam.automatic import SamAutomaticMaskGenerator
from mobilesam.batch.fingerprint import ImageFile
from mobilesam.batch.journal import pack
from mobilesam.batch.plan import files_of
from mobilesam.batch.tasks import ImageWork, Task
from mobilesam.errors import InputError, sentence
from mobilesam.files import unfinished_in
from mobilesam.formats.masked_image import OBJECT
from mobilesam.masks.records import MaskRecord
from mobilesam.model import MaskModel
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import segment_objects


@dataclass(frozen=True)
class ModelChoice:
    """The arguments of :func:`mobilesam.load`; two equal ones with equal :meth:`digest` give equal results."""

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
        """Return what the results depend on, for the journal: all but how threads are used, which is None."""
        return {
            "model": self.digest(),
            "backend": self.backend,
            "device": self.device,
            "threads": None,
            "provider": self.provider,
        }

    def digest(self) -> str:
        """Return the sha256 of the model's files."""
        named = loading.find_export(self.model) or [loading.find_model(self.model)]
        files = [file for path in named for file in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]
        digest = hashlib.sha256()
        for file in files:
            with Path(file).open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class Everything:
    """Everything mode: the arguments of SamAutomaticMaskGenerator that a batch offers, and which masks to keep.

    min_area: in pixels. max_masks: the best scored; None for all.
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


class Segmentation(ImageWork):
    """Work for :mod:`mobilesam.batch.pipeline`."""

    def __init__(
        self,
        model: MaskModel,
        how: Everything | Prompted,
        words: Sequence[str],
        labels: Sequence[str] = (OBJECT,),
        unfinished: Path | None = None,
    ) -> None:
        self._words, self._labels, self._unfinished = words, labels, unfinished
        self._segment: Callable[[UInt8Array, Sequence[ObjectPrompt]], list[MaskRecord]]
        if isinstance(how, Everything):
            self._segment = functools.partial(_segment_everything, _generator(model, how), how)
        else:
            self._segment = functools.partial(segment_prompts, model, how)

    def read(self, task: Task) -> ImageFile:
        """Return the image's file, whose name all formats must be able to hold."""
        try:
            task.source.encode()
        except UnicodeEncodeError as error:
            actual = repr(task.source)
            raise InputError(sentence("the path of an image", "be valid Unicode", actual, "rename it")) from error
        return super().read(task)

    def compute(self, task: Task, image: UInt8Array) -> list[MaskRecord]:
        """Return its masks as uncompressed RLE."""
        return self._segment(image, task.prompts)

    def write(self, task: Task, image: UInt8Array, computed: list[MaskRecord]) -> bytes:
        """Write the files, and return the masks for the journal."""
        files = files_of(task, self._words, self._labels)
        with unfinished_in(self._unfinished):
            files.write(image, computed)
        return pack(files.masked_image((image.shape[0], image.shape[1]), computed))


def make_segmentation(
    choice: ModelChoice, how: Everything | Prompted, words: Sequence[str], labels: Sequence[str], unfinished: Path
) -> Segmentation:
    """Load the model and return the work; a partial of this function pickles."""
    return Segmentation(choice.load(), how, words, labels, unfinished)


def _generator(model: MaskModel, how: Everything) -> SamAutomaticMaskGenerator:
    return SamAutomaticMaskGenerator(
        model, how.points_per_side, output_mode="uncompressed_rle", mode=how.mode, tile_size=how.tile_size
    )


def _segment_everything(
    generator: SamAutomaticMaskGenerator, how: Everything, image: UInt8Array, _: Sequence[ObjectPrompt]
) -> list[MaskRecord]:
    return [record for record in generator.generate(image) if record["area"] >= how.min_area][: how.max_masks]


def segment_prompts(
    model: MaskModel, how: Prompted, image: UInt8Array, prompts: Sequence[ObjectPrompt]
) -> list[MaskRecord]:
    """Return a record with uncompressed RLE for each prompt, in their order.

    Raises:
        InputError: a prompt cannot be used.
    """
    if not prompts:
        return []
    embedding = model.encode(image, fast_padding=how.fast_padding)
    return [record for (record,) in segment_objects(model, embedding, prompts, select=how.select)]
