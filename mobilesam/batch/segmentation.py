"""The work of ``mobilesam batch``: segment an image by its prompts or in everything mode, and write its files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mobilesam import loading
from mobilesam.arrays import UInt8Array
from mobilesam.automatic import SamAutomaticMaskGenerator
from mobilesam.batch.fingerprint import ImageFile
from mobilesam.batch.journal import pack
from mobilesam.batch.plan import files_of
from mobilesam.batch.tasks import Task, Work
from mobilesam.config import FLOAT32
from mobilesam.embedding import with_embeddings
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.files import exists, unfinished_in
from mobilesam.masks import choosers
from mobilesam.masks.records import MaskRecord
from mobilesam.masks.selection import RULES
from mobilesam.model import Embedding, MaskModel
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import segment_objects
from mobilesam.storage import Place


@dataclass(frozen=True)
class ModelChoice:
    """The arguments of :func:`mobilesam.load`, which each worker calls."""

    model: str | None = None
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    provider: str | None = None
    pin_threads: bool = False
    precision: str = FLOAT32

    def load(self) -> MaskModel:
        """Return the model."""
        arguments = (self.model, self.backend, self.device, self.threads, self.provider)
        return loading.load(*arguments, pin_threads=self.pin_threads, precision=self.precision)

    def settings(self) -> dict[str, str | None]:
        """Return what the results depend on, for the journal. Threads do not change them and are None."""
        return {
            "model": self.digest(),
            "backend": self.backend,
            "device": self.device,
            "threads": None,
            "provider": self.provider,
            **({"precision": self.precision} if self.precision != FLOAT32 else {}),
        }

    def digest(self) -> str:
        """Return the sha256 of the files of the model, and of its choosers if it has its own."""
        named = loading.find_export(self.model) or [loading.find_model(self.model)]
        files = [file for path in named for file in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]
        source = loading.choosers_source(self.model)
        if source is not None and exists(own := choosers.file_of(source)):
            choosers.read(own)  # which reports a damaged file
            files.append(own)
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

    def __post_init__(self) -> None:
        """Refuse negative numbers."""
        if self.min_area < 0:
            raise InputError(sentence("min_area", "be at least 0", self.min_area, "leave it out for all masks"))
        if self.max_masks is not None and self.max_masks < 1:
            raise InputError(sentence("max_masks", "be at least 1", self.max_masks, "leave it out for all masks"))


@dataclass(frozen=True)
class Prompted:
    """One mask for each prompt.

    select: see :func:`mobilesam.segment.segment_objects`.
    fast_padding: see SamPredictor.
    """

    select: str | None = None
    fast_padding: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown rule."""
        if self.select is not None and self.select not in RULES:
            raise InputError(unknown_name("select", self.select, RULES))


class Segmenter:
    """A model with the settings of everything mode or of prompts."""

    def __init__(self, model: MaskModel, settings: Everything | Prompted) -> None:
        self._model, self._settings = model, settings
        if isinstance(settings, Everything):
            self._generator = SamAutomaticMaskGenerator(
                model,
                settings.points_per_side,
                output_mode="uncompressed_rle",
                mode=settings.mode,
                tile_size=settings.tile_size,
            )

    @property
    def encode_batch(self) -> int:
        """The number of images to encode together; in everything mode each image is encoded with its grid."""
        return 1 if isinstance(self._settings, Everything) else self._model.capabilities.encode_batch

    def encode(self, images: Sequence[UInt8Array], needed: Sequence[bool]) -> list[Embedding | None]:
        """Return the embeddings of images, for those that are needed."""
        wanted = [place for place, need in enumerate(needed) if need and isinstance(self._settings, Prompted)]
        fast_padding = isinstance(self._settings, Prompted) and self._settings.fast_padding
        embeddings = self._model.encode_batch([images[place] for place in wanted], fast_padding=fast_padding)
        made = dict(zip(wanted, embeddings, strict=True))
        return [made.get(place) for place in range(len(images))]

    def segment(
        self, image: UInt8Array, prompts: Sequence[ObjectPrompt], embedding: Embedding | None
    ) -> list[MaskRecord]:
        """Return the masks of an image as uncompressed RLE, those of prompts in their order.

        Raises:
            InputError: a prompt cannot be used.
        """
        settings = self._settings
        if isinstance(settings, Everything):
            records = self._generator.generate(image)
            return [record for record in records if record["area"] >= settings.min_area][: settings.max_masks]
        if embedding is None or not prompts:
            return []
        return [mask for (mask,) in segment_objects(self._model, embedding, prompts, select=settings.select)]


class Segmented(NamedTuple):
    """The masks of an image, their prompts in pixels, and why other prompts were left out."""

    records: list[MaskRecord]
    prompts: tuple[ObjectPrompt, ...]
    problems: tuple[str, ...]


class Segmentation(Work):
    """Load the model and segment images; see :mod:`mobilesam.batch.pipeline`."""

    def __init__(
        self,
        choice: ModelChoice,
        settings: Everything | Prompted,
        formats: Sequence[str],
        labels: Sequence[str],
        unfinished: Path | None,
        embeddings: Place | None = None,
    ) -> None:
        self._segmenter = Segmenter(with_embeddings(choice.load(), embeddings), settings)
        self._formats, self._labels, self._unfinished = formats, labels, unfinished
        self.encode_batch = self._segmenter.encode_batch

    def read(self, task: Task) -> ImageFile:
        """Return the image file, whose path must be text that every format can store."""
        try:
            task.source.encode()
        except UnicodeEncodeError as error:
            actual = repr(task.source)
            raise InputError(sentence("the path of an image", "be valid Unicode", actual, "rename the file")) from error
        return super().read(task)

    def encode(self, tasks: Sequence[Task], images: Sequence[UInt8Array]) -> list[Embedding | None]:
        """Return the embeddings of the images that have prompts."""
        return self._segmenter.encode(images, [bool(task.prompts) for task in tasks])

    def compute(self, task: Task, image: UInt8Array, encoded: Embedding | None) -> Segmented:
        """Return the masks as uncompressed RLE, those of prompts in their order.

        The boxes of a detector are cut at the edges of the image, and those outside of it are left out.
        """
        hw = (image.shape[0], image.shape[1])
        prompts, problems = [], []
        for prompt in task.prompts:
            in_pixels = prompt.in_pixels(hw)
            try:
                prompts.append(in_pixels.inside(hw) if prompt.origin else in_pixels)
            except InputError as error:
                problems.append(str(error))
        return Segmented(self._segmenter.segment(image, prompts, encoded), tuple(prompts), tuple(problems))

    def write(self, task: Task, image: UInt8Array, computed: Segmented) -> bytes:
        """Write the files, and return the masks for the journal."""
        files = files_of(replace(task, prompts=computed.prompts), self._formats, self._labels)
        with unfinished_in(self._unfinished):
            files.write(image, computed.records)
        return pack(files.masked_image((image.shape[0], image.shape[1]), computed.records))

    def problems(self, computed: Segmented) -> tuple[str, ...]:
        """Return which boxes lie outside the image."""
        return computed.problems
