"""The images to train on: read, encoded, and divided into those to train on and those held back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilesam.errors import InputError, sentence
from mobilesam.evaluate.coco import AnnotatedImage, Dataset, read_instances
from mobilesam.finetune.distillation import KeptImage
from mobilesam.finetune.embeddings import FeatureFolder
from mobilesam.finetune.objects import make_target
from mobilesam.finetune.settings import VIEWS
from mobilesam.finetune.training import TrainedImage
from mobilesam.finetune.views import vary
from mobilesam.geometry import resized_hw
from mobilesam.image.read import read_image

LEAST_OBJECTS = 3
MOST_HELD_BACK = 200  # objects, which take 8 seconds to measure on 2 cores
_LEAST_TO_HOLD_BACK = 3  # images
_MANY = 16  # images to keep, of which no versions are needed

Progress = Callable[[int, int, str], object]  # done, total, what is next


@dataclass(frozen=True, eq=False)
class Prepared:
    """training: with all views; held_back: the images themselves. skipped: what was left out, as sentences.

    images, objects: the numbers of those to train on, views not counted.
    """

    training: Sequence[TrainedImage]
    held_back: Sequence[TrainedImage]
    skipped: Sequence[str]

    @property
    def images(self) -> int:
        return sum(image.view == 0 for image in self.training)

    @property
    def objects(self) -> int:
        return sum(len(image.targets) for image in self.training if image.view == 0)

    @property
    def held_back_objects(self) -> int:
        return sum(len(image.targets) for image in self.held_back)


def prepare(
    dataset: Dataset,
    folder: FeatureFolder,
    size: int,
    *,
    views: int,
    held_back: float,
    seed: int,
    progress: Progress | None = None,
) -> Prepared:
    """Read and encode the images of a data set.

    Args:
        size: side of the model frame.
        views, held_back, seed: see :class:`mobilesam.finetune.settings.Settings`.

    Raises:
        InputError: too few objects can be used.
    """
    every: list[list[TrainedImage]] = []
    skipped: list[str] = []
    for done, annotated in enumerate(dataset.images):
        if progress:
            progress(done, len(dataset.images), annotated.file_name)
        versions, problems = _read(annotated, dataset, folder, size, views, seed)
        skipped += problems
        if versions:
            every.append(versions)
    if progress:
        progress(len(dataset.images), len(dataset.images), "")
    objects = sum(len(versions[0].targets) for versions in every)
    if objects < LEAST_OBJECTS:
        reason = f"{objects}" + (f" ({skipped[0]})" if skipped else "")
        remedy = "annotate more, 20 or more on at least 3 images are a good start"
        raise InputError(sentence("annotations", f"have at least {LEAST_OBJECTS} usable objects", reason, remedy))
    held = _held_back([len(versions[0].targets) for versions in every], held_back, seed)
    training = [
        image for place, versions in enumerate(every) if place not in held for image in versions if image.targets
    ]
    return Prepared(
        training,
        [every[place][0] for place in sorted(held)],
        skipped,
    )


def prepare_kept(
    paths: Sequence[Path], folder: FeatureFolder, size: int, progress: Progress | None = None
) -> tuple[list[KeptImage], list[str]]:
    """Read and encode images without annotation; also return the reasons why some cannot be used.

    Few images are encoded mirrored and cropped, too.
    """
    kept, skipped = [], []
    versions = 1 + (max(VIEWS) if len(paths) < _MANY else 0)
    for done, path in enumerate(paths):
        if progress:
            progress(done, len(paths), path.name)
        try:
            image = read_image(path)
        except (InputError, OSError) as error:
            skipped.append(f"{path.name}: {error}")
            continue
        for number in range(versions):
            varied, _ = vary(image, (), number, np.random.default_rng([number, *path.name.encode()]))
            kept.append(KeptImage(folder.add(varied), resized_hw((varied.shape[0], varied.shape[1]), size), number))
    return kept, skipped


def _read(
    annotated: AnnotatedImage, dataset: Dataset, folder: FeatureFolder, size: int, views: int, seed: int
) -> tuple[list[TrainedImage], list[str]]:
    """Return the views of an image, the image itself first, and what was left out; no view if there is no object."""
    name = annotated.file_name
    try:
        image = read_image(annotated.path)
    except (InputError, OSError) as error:
        return [], [f"{name}: {error}"]
    hw = (image.shape[0], image.shape[1])
    if annotated.stated_hw and annotated.stated_hw != hw:
        stated = f"{annotated.stated_hw[1]} x {annotated.stated_hw[0]}"
        return [], [f"{name}: the image is {hw[1]} x {hw[0]}, its annotations are for {stated}"]
    instances, problems = read_instances(annotated, hw, dataset.categories)
    skipped = [f"{name}, annotation {each['annotation_id']}: {each['reason']}" for each in problems]
    usable = []
    for instance in instances:
        if make_target(instance.mask, size) is None:
            skipped.append(f"{name}, annotation {instance.annotation_id}: the mask is too small")
        else:
            usable.append(instance.mask)
    if not usable:
        return [], skipped
    versions = []
    for number in range(views + 1):
        varied, masks = vary(image, usable, number, np.random.default_rng([seed, number, *name.encode()]))
        targets = [target for mask in masks for target in [make_target(mask, size)] if target is not None]
        input_hw = resized_hw((varied.shape[0], varied.shape[1]), size)
        versions.append(TrainedImage(name, number, folder.add(varied), input_hw, targets))
    return versions, skipped


def _held_back(objects: Sequence[int], share: float, seed: int) -> set[int]:
    """Return the places of the images to hold back, by the number of objects in each."""
    if share == 0 or len(objects) < _LEAST_TO_HOLD_BACK:
        return set()
    order = np.random.default_rng(seed).permutation(len(objects)).tolist()
    held: set[int] = set()
    for place in order[: max(1, round(share * len(objects)))]:
        if held and sum(objects[each] for each in (*held, place)) > MOST_HELD_BACK:
            break
        held.add(place)
    return held
