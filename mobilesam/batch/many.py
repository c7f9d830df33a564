"""Segment many images in Python: files, arrays or a generator of them, with results as they come."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.arrays import BoolArray, UInt8Array
from mobilesam.batch.fingerprint import Fingerprint, ImageFile
from mobilesam.batch.pipeline import run_pipeline, take_from
from mobilesam.batch.processes import run_in_processes
from mobilesam.batch.segmentation import Everything, ModelChoice, Prompted, Segmenter
from mobilesam.batch.tasks import Outcome, Task, Work
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.files import MALFORMED
from mobilesam.formats.naming import Names
from mobilesam.image.read import read_image
from mobilesam.loading import as_mask_model
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord
from mobilesam.masks.selection import RULES
from mobilesam.model import Embedding, MaskModel
from mobilesam.prompts.file import ObjectPrompt, PromptFile

_UNREAD = Fingerprint(0, 0, "")


@dataclass(frozen=True)
class SegmentedImage:
    """The masks of one image of :func:`segment_many`.

    number: its place among the images, from 0. source: the image as it was given.
    error: why it could not be segmented, or None. hw: its height and width, or (0, 0) with an error.
    """

    number: int
    source: Any
    error: str | None
    hw: tuple[int, int]
    _records: list[MaskRecord]

    @property
    def records(self) -> list[MaskRecord]:
        """The masks as uncompressed RLE: one for each prompt, or those of everything mode.

        Raises:
            InputError: the image could not be segmented.
        """
        if self.error is not None:
            raise InputError(self.error)
        return self._records

    @property
    def masks(self) -> BoolArray:
        """The masks of the records, (N, H, W) bool, N may be 0.

        Raises:
            InputError: the image could not be segmented.
        """
        masks = [rle.rle_to_mask(record["segmentation"]) for record in self.records]
        return np.stack(masks) if masks else np.zeros((0, *self.hw), bool)


def segment_many(
    images: Iterable[Any],
    prompts: PromptFile | Iterable[Any] | None = None,
    *,
    mode: str | None = None,
    points_per_side: int = 32,
    min_area: int = 0,
    max_masks: int | None = None,
    select: str | None = None,
    fast_padding: bool = False,
    model: Any = None,
    workers: int = 1,
) -> Iterator[SegmentedImage]:
    """Segment images one after the other, and yield the masks of each as they come.

    The next images are read while the model works on one of them. An image that cannot be segmented does not end the
    run: its result has an ``error``. Images are taken from ``images`` when they are needed, so that it may be a
    generator of any length.

    Args:
        images: paths, arrays, or whatever else :func:`mobilesam.image.read_image` takes.
        prompts: the objects of each image in the order of ``images``: boxes, (N, 4), x1 y1 x2 y2 in pixels of the
            original image; or a list of :class:`mobilesam.prompts.file.ObjectPrompt`. For images given by their paths
            also a PromptFile. None for everything mode.
        mode: of everything mode: "exact", "balanced" (the default) or "fast".
        points_per_side, min_area, max_masks: see :class:`mobilesam.batch.Everything`.
        select, fast_padding: for prompts, see :class:`mobilesam.batch.Prompted`.
        model: a model of :func:`mobilesam.load`, its arguments as :class:`mobilesam.batch.ModelChoice`, or a network;
            by default the published weights.
        workers: number of processes, each with a model, which must be a ModelChoice; 1 uses this process. With more,
            images come in any order, and the main script needs the usual ``if __name__ == "__main__":``.

    Raises:
        InputError: an argument has a wrong value, or there are not as many prompts as images.
    """
    if not isinstance(images, Iterable) or isinstance(images, str | bytes) or getattr(images, "ndim", 4) < 4:
        actual = type(images).__name__
        raise InputError(sentence("images", "be several images", actual, "pass a list, even of one image"))
    if isinstance(prompts, str) or not isinstance(prompts, PromptFile | Iterable | None):
        remedy = "pass boxes or ObjectPrompts for each image"
        raise InputError(sentence("prompts", "have the objects of each image", type(prompts).__name__, remedy))
    if prompts is not None and mode is not None:
        raise InputError(sentence("mode", "be used without prompts", repr(mode), "leave one of them out"))
    if select is not None and select not in RULES:
        raise InputError(unknown_name("select", select, RULES))
    settings: Everything | Prompted
    if prompts is None:
        settings = Everything(mode or "balanced", points_per_side, None, min_area, max_masks)
    else:
        settings = Prompted(select, fast_padding)
    if workers < 1:
        raise InputError(sentence("workers", "be at least 1", workers, "omit it to use one"))
    if workers > 1 and not isinstance(model, ModelChoice | None):
        remedy = "pass mobilesam.batch.ModelChoice with the arguments of mobilesam.load"
        raise InputError(sentence("model", "be a ModelChoice for several workers", type(model).__name__, remedy))
    tasks = _Tasks(images, prompts, portable=workers > 1)
    if workers > 1:
        outcomes = run_in_processes(functools.partial(_loaded, model or ModelChoice(), settings), tasks, workers)
        return _results(tasks, outcomes)
    loaded = (model or ModelChoice()).load() if isinstance(model, ModelChoice | None) else as_mask_model(model)
    return _results(tasks, run_pipeline(_Segmentation(loaded, settings), take_from(tasks)))


def _results(tasks: _Tasks, outcomes: Generator[Outcome]) -> Iterator[SegmentedImage]:
    seen: set[str] = set()
    with contextlib.closing(outcomes):
        for outcome in outcomes:
            task, image = tasks.given.pop(outcome.number)
            for text in outcome.warnings:
                if text not in seen:
                    warnings.warn(text, UserWarning, stacklevel=2)
                seen.add(text)
            error = outcome.error
            if error is not None and task.source not in error:
                error = f"{task.source}: {error}"
            hw, records = ((0, 0), []) if error else outcome.result
            yield SegmentedImage(task.number, image, error, hw, records)


class _Tasks(Iterator["_Task"]):
    """The tasks of images and their prompts, each made when it is taken.

    given: the tasks that have been taken and have no result yet, with their images as given.
    """

    def __init__(self, images: Iterable[Any], prompts: PromptFile | Iterable[Any] | None, portable: bool) -> None:
        self.given: dict[int, tuple[_Task, Any]] = {}
        self._images, self._portable = enumerate(images), portable
        self._file = prompts if isinstance(prompts, PromptFile) else None
        self._objects = None if prompts is None or isinstance(prompts, PromptFile) else iter(prompts)

    def __next__(self) -> _Task:
        nothing = object()
        number, image = next(self._images, (-1, nothing))
        objects: Any = () if self._objects is None else next(self._objects, nothing)
        if image is nothing and (self._objects is None or objects is nothing):
            raise StopIteration
        if image is nothing or objects is nothing:
            actual = "more prompts than images" if image is nothing else f"none for image {number}"
            remedy = "pass an empty list for an image without objects"
            raise InputError(sentence("prompts", "have one entry for each image", actual, remedy))
        source = str(image) if isinstance(image, str | os.PathLike) else f"image {number}"
        task = _Task(number, source, source, Names(Path(), ""), image=image, objects=objects)
        try:
            if self._file and (not self._file.images or self._file.name_of(source) is not None):
                task = replace(task, objects=self._file.for_image(source))
            if self._portable and callable(getattr(image, "read", None)):
                task = replace(task, image=read_image(image))
        except InputError as error:
            task = replace(task, image=None, error=str(error))
        self.given[number] = task, image
        return task


@dataclass(frozen=True)
class _Task(Task):
    """image: as it was given. objects: boxes or prompts of the image, not checked yet."""

    image: Any = None
    objects: Any = ()


class _Segmentation(Work):
    def __init__(self, model: MaskModel, settings: Everything | Prompted) -> None:
        self._segmenter = Segmenter(model, settings)
        self.encode_batch = self._segmenter.encode_batch

    def read(self, task: Task) -> ImageFile:
        return ImageFile(b"", _UNREAD)

    def decode(self, task: Task, content: bytes) -> UInt8Array:
        assert isinstance(task, _Task)
        return read_image(task.image)

    def encode(self, tasks: Sequence[Task], images: Sequence[UInt8Array]) -> list[Embedding | None]:
        return self._segmenter.encode(images, [bool(_objects(task)) for task in tasks])

    def compute(self, task: Task, image: UInt8Array, encoded: Embedding | None) -> list[MaskRecord]:
        return self._segmenter.segment(image, _objects(task), encoded)

    def write(self, task: Task, image: UInt8Array, computed: list[MaskRecord]) -> Any:
        return (image.shape[0], image.shape[1]), computed


def _loaded(choice: ModelChoice, settings: Everything | Prompted) -> _Segmentation:
    return _Segmentation(choice.load(), settings)


def _objects(task: Task) -> list[ObjectPrompt]:
    """Return the prompts of an image, given as they are or as boxes."""
    assert isinstance(task, _Task)
    objects = [] if task.objects is None else task.objects
    if isinstance(objects, Sequence) and all(isinstance(each, ObjectPrompt) for each in objects):
        return list(objects)
    try:
        boxes = np.asarray(objects, np.float64)
    except MALFORMED as error:
        raise _not_objects(f"{type(objects).__name__} ({error})") from error
    if boxes.size == 0:
        return []
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise _not_objects(f"shape {boxes.shape}")
    return [ObjectPrompt(box=(x1, y1, x2, y2)) for x1, y1, x2, y2 in boxes.tolist()]


def _not_objects(actual: str) -> InputError:
    remedy = "pass x1, y1, x2, y2 for each box"
    return InputError(sentence("the prompts of an image", "be boxes, (N, 4), or ObjectPrompts", actual, remedy))
