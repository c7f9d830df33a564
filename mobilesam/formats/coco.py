"""COCO's instance format: one JSON file for any number of images."""

from __future__ import annotations

import itertools
import json
import reprlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam.errors import InputError, sentence
from mobilesam.files import atomic_path
from mobilesam.formats.boxes import Boxes, detection, id_text
from mobilesam.formats.coco_document import CocoDocument, read_document
from mobilesam.formats.detections import Dataset
from mobilesam.formats.masked_image import (
    OBJECT,
    MaskedImage,
    details_of,
    image_size,
    known,
    label_of,
    labels_of,
    read_record,
)
from mobilesam.formats.segmentation import decode_segmentation
from mobilesam.masks import rle
from mobilesam.masks.records import pixel_box
from mobilesam.prompts.file import PromptFile


def coco_dataset(masked: Sequence[MaskedImage]) -> dict[str, Any]:
    """Return images and masks as a COCO dataset, with compressed RLE and the model's scores."""
    labels = _category_ids(labels_of(masked), {})
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(masked, start=1):
        annotations += _annotations(image, image_id, len(annotations), labels)
    images = [_image(image, image_id) for image_id, image in enumerate(masked, start=1)]
    return {"images": images, "annotations": annotations, "categories": _categories(labels)}


class CocoIds(NamedTuple):
    """The ids of images by ``file_name`` and of categories by name; others are numbered from 1 or after these."""

    images: Mapping[str, int] = {}
    categories: Mapping[str, int] = {}


def write_coco(
    path: Path,
    images: Iterable[MaskedImage],
    *,
    labels: Sequence[str] = (),
    ids: CocoIds | None = None,
    force: bool = False,
) -> None:
    """Write :func:`coco_dataset` as JSON, taking one image at a time.

    labels: the first categories, in this order; others follow as they appear.
    ids: of a dataset whose images these are.
    """
    named, count = list(labels), 0
    known_images, known_categories = ids or CocoIds()
    free = itertools.count(max(known_images.values(), default=0) + 1)
    with (
        atomic_path(path, force=force) as temporary,
        temporary.open("w+", encoding="utf-8") as file,
        tempfile.TemporaryFile("w+", encoding="utf-8") as annotations,
    ):
        file.write('{"images": [')
        for place, image in enumerate(images):
            named = list(dict.fromkeys([*named, *map(label_of, image.records)]))
            numbers = _category_ids(named, known_categories)
            image_id = known_images[image.file_name] if image.file_name in known_images else next(free)
            file.write((", " if place else "") + json.dumps(_image(image, image_id)))
            for annotation in _annotations(image, image_id, count, numbers):
                annotations.write((", " if count else "") + json.dumps(annotation))
                count += 1
        file.write('], "annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
        numbers = _category_ids(named or [OBJECT], known_categories)
        file.write(f'], "categories": {json.dumps(_categories(numbers))}}}\n')


def read_coco(path: Path) -> list[MaskedImage]:
    """Read images and masks, given as polygons, RLE or compressed RLE.

    Raises:
        InputError: the file is not COCO instance JSON, an image has no size, or an annotation has no usable mask.
    """
    document = read_document(path, need_masks=True)
    return [
        MaskedImage(
            str(entry["file_name"]),
            hw,
            [_record(annotation, hw, document.categories, path) for annotation in document.by_image[entry["id"]]],
        )
        for entry in document.images
        for hw in [_hw(entry, path)]
    ]


def read_coco_prompts(path: Path) -> PromptFile:
    """Read the boxes of a COCO file as prompts for its images, labeled with their categories.

    A crowd region is not one object, and is left out. Annotations that cannot be used are among the problems of the
    result.

    Raises:
        InputError: the file is not COCO instance JSON, has no image, or no box can be used.
    """
    return coco_prompts(read_document(path), path)


def coco_prompts(document: CocoDocument, path: Path) -> PromptFile:
    """Return the prompts of a COCO file that has been read; see :func:`read_coco_prompts`."""
    if not document.images:
        raise InputError(sentence(f"annotations {path.name}", "name an image", "none", "export it again"))
    categories = {id_text(key): name for key, name in document.categories.items() if key is not None}
    names = {id_text(entry["id"]): str(entry["file_name"]) for entry in document.images}
    boxes = Boxes(path, images=names.values(), labels=categories.values())
    for annotation in document.annotations:
        if not annotation.get("iscrowd"):
            where = f"annotation {reprlib.repr(annotation.get('id'))} of {path.name}"
            with boxes.entry(annotation.get("score")):
                name = names.get(id_text(annotation["image_id"]))
                if name is None:
                    actual = reprlib.repr(annotation["image_id"])
                    raise InputError(sentence(f"{where}: image_id", "be an image of the file", actual, "correct it"))
                boxes.add(name, detection(annotation, where, categories))
    return boxes.prompts(by_stem=False, ids=Dataset(names, categories).ids)


def _image(image: MaskedImage, image_id: int) -> dict[str, Any]:
    height, width = image.hw
    return {"id": image_id, "file_name": image.file_name, "width": width, "height": height}


def _category_ids(labels: Sequence[str], known: Mapping[str, int]) -> dict[str, int]:
    """Return the id of each label, in the order of the labels."""
    free = itertools.count(max(known.values(), default=0) + 1)
    return {label: known[label] if label in known else next(free) for label in labels}


def _annotations(image: MaskedImage, image_id: int, before: int, labels: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return an image's annotations, numbered after those ``before``; COCO counts from 1."""
    annotations = []
    for index, record in enumerate(image.records, start=before + 1):
        # COCO's own key is the detector's score, where there is a detector.
        iou, details = known(record["predicted_iou"]), details_of(record)
        detected = "score" in details or "detection_id" in details
        scores = {"predicted_iou" if detected else "score": iou, "stability_score": known(record["stability_score"])}
        annotations.append(
            {
                "id": index,
                "image_id": image_id,
                "category_id": labels[label_of(record)],
                "segmentation": rle.coco_encode_rle(record["segmentation"]),
                "area": record["area"],
                "bbox": pixel_box(record),
                "iscrowd": 0,
                **{name: score for name, score in scores.items() if score is not None},
                **details,
                "point_coords": record["point_coords"],
            }
        )
    return annotations


def _categories(labels: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"id": number, "name": label, "supercategory": ""} for label, number in labels.items()]


def _record(annotation: dict[str, Any], hw: tuple[int, int], categories: Any, path: Path) -> Any:
    try:
        return read_record(
            rle.boundaries_of(decode_segmentation(annotation.get("segmentation"), hw)),
            hw,
            predicted_iou=annotation.get("predicted_iou", annotation.get("score")),
            score=annotation.get("score") if "predicted_iou" in annotation else None,
            detection_id=annotation.get("detection_id"),
            confidence=annotation.get("confidence"),
            stability_score=annotation.get("stability_score"),
            point_coords=annotation.get("point_coords"),
            label=categories.get(annotation.get("category_id"), OBJECT),
        )
    except InputError as error:
        name = f"annotation {reprlib.repr(annotation.get('id'))} of {path.name}"
        raise InputError(sentence(name, "have a usable mask", str(error), "export it again")) from error


def _hw(entry: dict[str, Any], path: Path) -> tuple[int, int]:
    try:
        return image_size(entry.get("height"), entry.get("width"))
    except InputError as error:
        actual = f"{entry['file_name']!r} with {error}"
        requirement = "state each image's size"
        remedy = "write width and height as whole numbers"
        raise InputError(sentence(f"annotations {path.name}", requirement, actual, remedy)) from error
