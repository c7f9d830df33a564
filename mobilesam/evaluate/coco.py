"""Ground truth: COCO instance annotations and the images they describe."""

from __future__ import annotations

import os
import random
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from mobilesam.arrays import BoolArray, FloatArray64
from mobilesam.errors import InputError, sentence
from mobilesam.evaluate.metrics import tight_box
from mobilesam.files import exists
from mobilesam.formats.coco_document import CocoDocument, is_bbox, read_document
from mobilesam.formats.segmentation import decode_segmentation

Split = Literal["all", "even", "odd"]


@dataclass(frozen=True, eq=False)
class Instance:
    """One object of an image.

    box_xyxy: (4,) float64, x1 y1 x2 y2 in pixels of the image, clipped to its frame.
    mask: (H, W) bool.
    area: pixels of the mask; the annotation's own ``area`` is not read, because its meaning differs between files.
    """

    annotation_id: int | str
    category: str
    box_xyxy: FloatArray64
    mask: BoolArray
    area: int


@dataclass(frozen=True)
class AnnotatedImage:
    """An image of the annotations and its annotations, as COCO has them, not yet decoded or checked."""

    file_name: str
    path: Path
    domain: str | None
    stated_hw: tuple[int, int] | None
    annotations: tuple[Mapping[str, Any], ...]


class FileProblem(NamedTuple):
    """A file of annotations that was left out, relative to their folder, and the reason."""

    file: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Annotated images, in name order.

    digest: sha256 of the annotations file, or of the names and contents of several.
    orphans: annotations whose ``image_id`` is not among the images.
    problems: the files that cannot be used.
    """

    images: tuple[AnnotatedImage, ...]
    categories: Mapping[Any, str]
    digest: str
    orphans: int = 0
    problems: tuple[FileProblem, ...] = ()

    def select(self, split: Split = "all", limit: int | None = None, seed: int | None = None) -> Dataset:
        """Return some of the images; see :func:`load_coco`."""
        images = self.images
        if split != "all":
            images = images[(0 if split == "even" else 1) :: 2]
        if limit is not None and limit < len(images):
            if seed is not None:
                images = tuple(sorted(random.Random(seed).sample(images, limit), key=lambda image: image.file_name))
            images = images[:limit]
        return replace(self, images=images)


def load_coco(
    annotations: Path, images: Path, *, split: Split = "all", limit: int | None = None, seed: int | None = None
) -> Dataset:
    """Read a COCO instance file.

    split: all images, or those at even or odd positions in name order (the first position is even).
    limit: keep at most this many images: the first ones, or a random choice if ``seed`` is given.

    Raises:
        InputError: the file cannot be read, is not COCO instance JSON, or ``images`` is not a folder.
    """
    require_folder(images)
    return coco_dataset(read_document(annotations, need_masks=True), images).select(split, limit, seed)


def require_folder(images: Path) -> None:
    """Raise InputError if the folder of the images is not one."""
    if not os.path.isdir(images):  # noqa: PTH112 (Path.is_dir raises for some paths)
        raise InputError(sentence("images", "be a folder", repr(str(images)), "pass the folder that holds the images"))


def coco_dataset(document: CocoDocument, images: Path) -> Dataset:
    """Return the images and annotations of a COCO file that has been read."""
    described = []
    for entry in sorted(document.images, key=lambda entry: str(entry["file_name"])):
        name, domain = str(entry["file_name"]), entry.get("domain")
        height, width = entry.get("height"), entry.get("width")
        path = images / name
        if not exists(path) and exists(images / Path(name).name):  # some files carry the name of the split's folder
            path = images / Path(name).name
        stated = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        domain = None if domain is None else str(domain)
        described.append(AnnotatedImage(name, path, domain, stated, tuple(document.by_image[entry["id"]])))
    return Dataset(tuple(described), document.categories, document.digest, document.orphans)


def read_instances(
    image: AnnotatedImage, hw: tuple[int, int], categories: Mapping[Any, str]
) -> tuple[list[Instance], list[dict[str, Any]]]:
    """Return the usable instances of an image, and ``{"annotation_id", "reason"}`` of each other annotation."""
    instances, skipped = [], []
    for annotation in image.annotations:
        try:
            instances.append(_instance(annotation, hw, categories))
        except InputError as error:
            skipped.append({"annotation_id": annotation.get("id"), "reason": str(error)})
    return instances, skipped


def _instance(annotation: Mapping[str, Any], hw: tuple[int, int], categories: Mapping[Any, str]) -> Instance:
    if annotation.get("iscrowd"):
        raise InputError("a crowd region is not one object")
    mask = decode_segmentation(annotation.get("segmentation"), hw)
    frame = f"the {hw[1]} x {hw[0]} frame"
    if not mask.any():
        raise InputError(f"the mask has no pixel inside {frame}")
    box, bbox = tight_box(mask), annotation.get("bbox")
    if bbox is not None:
        if not is_bbox(bbox):
            raise InputError(f"bbox must be four finite numbers x y width height, got {reprlib.repr(bbox)}")
        x, y, width, height = map(float, bbox)
        box = np.clip([x, y, x + width, y + height], 0.0, [hw[1], hw[0], hw[1], hw[0]])
        if box[2] <= box[0] or box[3] <= box[1]:
            raise InputError(f"bbox {bbox} covers nothing inside {frame}")
    category = categories.get(annotation.get("category_id"), "")
    return Instance(annotation.get("id", ""), category, box, mask, int(np.count_nonzero(mask)))
