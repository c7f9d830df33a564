"""Segment many images in Python: files, arrays or a generator of them, with results as they come."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.arrays import BoolArray, UInt8Array
from mobilesam.batch.fingerprint import Fingerprint, ImageFile
from mobilesam.batch.pipeline import run_pipeline, take_from
from mobilesam.batch.processes import run_in_processes
from mobilesam.batch.segmentation import Everything, ModelChoice, Prompted, Segmenter
from mobilesam.batch.tasks import Outcome, Task, Work
from mobilesam.errors import InputError, sentence
from mobilesam.files import MALFORMED, is_number
from mobilesam.formats.naming import Names
from mobilesam.image.read import read_image
from mobilesam.loading import as_mask_model
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord
from mobilesam.model import Embedding, MaskModel
from mobilesam.prompts.file import ObjectPrompt, PromptFile

_UNREAD = Fingerprint(0, 0, "")


@dataclass(frozen=True, eq=False)
class SegmentedImage:
    """The masks of one image of :func:`segment_many`.

    number: its place among the images, from 0. source: the image as it was given.
    error: why it could not be segmented, or None. hw: its height and width, or (0, 0) with an error.
    """

    number: int
    source: Any = field(repr=False)
    error: str | None
    hw: tuple[int, int]
    _records: list[MaskRecord] = field(repr=False)

    @property
    def records(self) -> list[MaskRecord]:
        """The masks as uncompressed RLE: one for each prompt, or those of everything mode.

        Raises:
            InputError: the image could not be segmented.
        """
        if self.error is not None:
            raise InputError(self.error)
        return self._records

    @cached_property
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
    tile_size: int | None = None,
    min_area: int = 0,
    max_masks: int | None = None,
    select: str | None = None,
    fast_padding: bool = False,
    model: Any = None,
    workers: int = 1,
) -> Iterator[SegmentedImage]:
    """Segment images one after the other, and yield the masks of each as they come.

    An image that cannot be segmented does not end the run: its result has an ``error``. Images are taken from
    ``images`` when they are needed, so that it may be a generator of any length. The next ones are read while the model
    works on one of them: two are taken in advance, more on a GPU and with workers. An error that ``images`` raises is
    raised after the results of the images before it.

    Args:
        images: paths, arrays, or whatever else :func:`mobilesam.image.read_image` takes. Arrays are copied, so that
            they may be changed afterwards.
        prompts: the objects of each image in the order of ``images``: boxes, (N, 4), x1 y1 x2 y2 in pixels of the
            original image; or a list of :class:`mobilesam.prompts.file.ObjectPrompt`, which have labels and scores,
            too. For images given by their paths also what :func:`mobilesam.batch.read_prompts_or_coco` returns; an
            image that it does not name has no objects. None for everything mode.
        mode: of everything mode: "exact", "balanced" (the default) or "fast".
        points_per_side, tile_size, min_area, max_masks: of everything mode, see :class:`mobilesam.batch.Everything`.
        select, fast_padding: of prompts, see :class:`mobilesam.batch.Prompted`.
        model: a model of :func:`mobilesam.load`, its arguments as :class:`mobilesam.batch.ModelChoice`, or a network;
            by default the published weights.
        workers: number of processes, each with a model, which must be a ModelChoice; 1 uses this process. With more,
            images come in any order, and the main script needs the usual ``if __name__ == "__main__":``.

    Raises:
        InputError: an argument has a wrong value, there are fewer prompts than images, or the PromptFile names none of
            the images.
    """
    if not isinstance(images, Iterable) or isinstance(images, str | bytes) or getattr(images, "ndim", 4) < 4:
        actual = type(images).__name__
        raise InputError(sentence("images", "be several images", actual, "pass a list, even of one image"))
    if isinstance(prompts, str | Mapping) or not isinstance(prompts, PromptFile | Iterable | None):
        remedy = "pass boxes or ObjectPrompts for each image, or read a file with mobilesam.batch.read_prompts_or_coco"
        raise InputError(sentence("prompts", "have the objects of each image", type(prompts).__name__, remedy))
    if isinstance(images, Sized) and isinstance(prompts, Sized) and len(images) != len(prompts):
        actual, remedy = f"{len(prompts)} for {len(images)} images", "pass an empty list for an image without objects"
        raise InputError(sentence("prompts", "have one entry for each image", actual, remedy))
    settings: Everything | Prompted
    given = {"mode": mode, "tile_size": tile_size, "min_area": min_area or None, "max_masks": max_masks}
    if prompts is None:
        given = {"select": select, "fast_padding": fast_padding or None}
        settings = Everything(mode or "balanced", points_per_side, tile_size, min_area, max_masks)
    else:
        settings = Prompted(select, fast_padding)
    for name, value in given.items():
        if value is not None:
            requirement = "be used with prompts" if prompts is None else "be used without prompts"
            raise InputError(sentence(name, requirement, repr(value), "leave it out"))
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InputError(sentence("workers", "be a whole number from 1", repr(workers), "omit it to use one"))
    if workers > 1 and not isinstance(model, ModelChoice | None):
        remedy = "pass mobilesam.batch.ModelChoice with the arguments of mobilesam.load"
        raise InputError(sentence("model", "be a ModelChoice for several workers", type(model).__name__, remedy))
    tasks = _Tasks(images, prompts)
    if workers > 1:
        outcomes = run_in_processes(functools.partial(_loaded, model or ModelChoice(), settings), tasks, workers)
        return _results(tasks, outcomes)
    loaded = (model or ModelChoice()).load() if isinstance(model, ModelChoice | None) else as_mask_model(model)
    return _results(tasks, run_pipeline(_Segmentation(loaded, settings), take_from(tasks)))


def _results(tasks: _Tasks, outcomes: Generator[Outcome]) -> Iterator[SegmentedImage]:
    with contextlib.closing(outcomes):
        for outcome in outcomes:
            task, image = tasks.given.pop(outcome.number)
            for text in outcome.warnings:
                warnings.warn(text, UserWarning, stacklevel=2)
            error = outcome.error
            if error is not None and task.source not in error:
                error = f"{task.source}: {error}"
            hw, records = ((0, 0), []) if error else outcome.result
            yield SegmentedImage(task.number, image, error, hw, records)
    if tasks.error is not None:
        raise tasks.error


class _Tasks(Iterator["_Task"]):
    """The tasks of images and their prompts, each made when it is taken.

    given: the tasks that have been taken and have no result yet, with their images as given.
    error: of the images or of the prompts, which ends the tasks, and is to be raised after the results before it.
    """

    def __init__(self, images: Iterable[Any], prompts: PromptFile | Iterable[Any] | None) -> None:
        self.given: dict[int, tuple[_Task, Any]] = {}
        self.error: Exception | None = None
        self._images = enumerate(images)
        self._file = prompts if isinstance(prompts, PromptFile) else None
        self._objects = None if prompts is None or isinstance(prompts, PromptFile) else iter(prompts)
        self._named = self._file is None or not self._file.images  # whether the file names an image given
        for problem in self._file.problems if self._file else ():
            warnings.warn(problem.text, UserWarning, stacklevel=4)

    def __next__(self) -> _Task:
        try:
            return self._next()
        except StopIteration:
            raise
        except Exception as error:  # of the caller's own iterators, which may raise anything
            self.error = error
            raise StopIteration from None

    def _next(self) -> _Task:
        try:
            number, image = next(self._images)
        except StopIteration:
            if not self._named:
                raise InputError("The prompts name none of the images. Check the names in the prompt file.") from None
            raise
        source = str(image) if isinstance(image, str | os.PathLike) else f"image {number}"
        task = _Task(number, source, source, Names(Path(), ""))
        objects: Any = () if self._objects is None else next(self._objects, _NOTHING)
        if objects is _NOTHING:
            remedy = "pass an empty list for an image without objects"
            raise InputError(sentence("prompts", "have one entry for each image", f"none for {source}", remedy))
        self.given[number] = task, image
        try:
            if self._file:
                objects = self._objects_of(image, source)
            # What is not read here is read in another thread or process, later.
            by_name = isinstance(image, str | os.PathLike | bytes)
            pixels = image if by_name else np.array(read_image(image))
            return replace(task, image=pixels, objects=_objects(objects))
        except InputError as error:
            return replace(task, error=str(error))

    def _objects_of(self, image: Any, source: str) -> list[ObjectPrompt]:
        """Return the objects that the prompt file has for an image."""
        assert self._file is not None, "there is a prompt file"
        if not self._file.images:
            return list(self._file.objects)
        if source != str(image):
            remedy = "pass the images as paths, or boxes for each image"
            raise InputError(sentence("an image", "be a path for prompts with names", type(image).__name__, remedy))
        known = self._file.name_of(source)
        self._named |= known is not None
        return [] if known is None else list(self._file.images[known])


_NOTHING = object()


@dataclass(frozen=True)
class _Task(Task):
    """image: a path, the bytes of a file, or pixels. objects: of the image."""

    image: Any = None
    objects: Sequence[ObjectPrompt] = ()


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
        return self._segmenter.encode(images, [isinstance(task, _Task) and bool(task.objects) for task in tasks])

    def compute(self, task: Task, image: UInt8Array, encoded: Embedding | None) -> list[MaskRecord]:
        assert isinstance(task, _Task)
        hw = (image.shape[0], image.shape[1])
        objects = [prompt.in_pixels(hw) for prompt in task.objects]
        # A detector's boxes are cut at the edges of the image, as in a batch.
        inside = [prompt.inside(hw) for prompt in objects]
        cut = [new if old.origin else old for old, new in zip(objects, inside, strict=True)]
        return self._segmenter.segment(image, cut, encoded)

    def write(self, task: Task, image: UInt8Array, computed: list[MaskRecord]) -> Any:
        return (image.shape[0], image.shape[1]), computed


def _loaded(choice: ModelChoice, settings: Everything | Prompted) -> _Segmentation:
    return _Segmentation(choice.load(), settings)


def _objects(given: Any) -> list[ObjectPrompt]:
    """Return the prompts of an image, given as they are or as boxes."""
    try:
        objects = given if hasattr(given, "shape") or given is None else list(given)
        if objects is None or len(objects) == 0:
            return []
        if all(isinstance(each, ObjectPrompt) for each in objects):
            return list(objects)
        boxes = np.array(objects.detach().cpu() if hasattr(objects, "detach") else objects, np.float64)
    except MALFORMED as error:
        raise _not_objects(f"{type(given).__name__} ({error})") from error
    if boxes.shape == (4,):  # one box
        boxes = boxes[None]
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise _not_objects(f"shape {boxes.shape}")
    for place, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        if not (all(map(is_number, (x1, y1, x2, y2))) and x1 < x2 and y1 < y2):
            actual = f"x1 {x1:g}, y1 {y1:g}, x2 {x2:g}, y2 {y2:g}"
            remedy = "correct it, or leave it out"
            raise InputError(sentence(f"box {place} of an image", "have a width and a height", actual, remedy))
    return [ObjectPrompt(box=(x1, y1, x2, y2)) for x1, y1, x2, y2 in boxes.tolist()]


def _not_objects(actual: str) -> InputError:
    remedy = "pass x1, y1, x2, y2 for each box"
    return InputError(sentence("the prompts of an image", "be boxes, (N, 4), or ObjectPrompts", actual, remedy))
