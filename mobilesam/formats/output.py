"""The formats that commands, batches and the page offer: one list of words, and one function that writes each."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.arrays import AnyIntArray, BoolArray, UInt8Array
from mobilesam.formats import png
from mobilesam.formats.coco import CocoIds, write_coco
from mobilesam.formats.csv import write_csv
from mobilesam.formats.geojson import write_geojson
from mobilesam.formats.labelme import write_labelme
from mobilesam.formats.masked_image import OBJECT, MaskedImage, known
from mobilesam.formats.parquet import require_pyarrow, write_parquet
from mobilesam.formats.yolo import write_yolo, write_yolo_names
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord, pixel_box
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.visualize import overlay

FORMATS = (
    *("overlay", "mask", "cutout", "indexed", "instances"),
    *("coco", "labelme", "yolo", "csv", "geojson", "parquet"),
)
PER_MASK = ("mask", "cutout")  # a file for each mask
_OF_ALL = {"coco": "coco.json", "parquet": "masks.parquet", "yolo": "data.yaml"}


def write_masks(
    word: str,
    path: Path,
    masked: MaskedImage,
    image: Callable[[], UInt8Array],
    *,
    prompts: Sequence[ObjectPrompt] = (),
    labels: Sequence[str] = (OBJECT,),
    mask_files: Sequence[str] = (),
    force: bool = False,
) -> None:
    """Write the masks of an image into one file.

    Args:
        word: one of :data:`FORMATS`; "mask" and "cutout" hold what lies in any of the masks.
        masked: the masks, and the name and size of their image.
        image: returns the image, (H, W, 3) uint8 RGB; called for "overlay" and "cutout" only.
        prompts: drawn on an overlay.
        labels: of YOLO's classes.
        mask_files: named in a CSV file, one for each mask.

    Raises:
        InputError: the format cannot hold the masks, or the file cannot be written.
        MissingDependencyError: the format needs a package that is not installed.
    """
    records = masked.records
    if word == "overlay":
        drawn = overlay(
            image(),
            rle.DecodedMasks([record["segmentation"] for record in records]),
            point_coords=[point for prompt in prompts for point in prompt.points],
            point_labels=[label for prompt in prompts for label in prompt.labels],
            boxes=[prompt.box for prompt in prompts if prompt.box],
        )
        png.write_image(path, drawn, force=force)
    elif word == "mask":
        png.write_mask(path, _union(masked), force=force)
    elif word == "cutout":
        png.write_cutout(path, image(), _union(masked), force=force)
    elif word == "indexed":
        png.write_indexed(path, masked, force=force)
    elif word == "instances":
        png.write_instances(path, masked, force=force)
    elif word == "coco":
        write_coco(path, [masked], force=force)
    elif word == "labelme":
        write_labelme(path, masked, force=force)
    elif word == "yolo":
        write_yolo(path, records, labels, force=force)
    elif word == "csv":
        write_csv(path, records, mask_files, force=force)
    elif word == "geojson":
        write_geojson(path, masked, force=force)
    else:
        write_parquet(path, [masked], force=force)


def describe(record: MaskRecord) -> dict[str, Any]:
    """Return what JSON says about a mask; its ``bbox`` is COCO's. Its segmentation is an uncompressed RLE."""
    return {
        "area": record["area"],
        "bbox": pixel_box(record),
        "predicted_iou": known(record["predicted_iou"]),
        "stability_score": known(record["stability_score"]),
        "confidence": known(record.get("confidence", math.nan)),
        "point_coords": record["point_coords"],
    }


def files_of_all(folder: Path, formats: Collection[str]) -> dict[str, Path]:
    """Return the files that hold what all images have in common, by their word.

    Raises:
        MissingDependencyError: a word needs a package that is not installed.
    """
    if "parquet" in formats:
        require_pyarrow()
    return {word: folder / name for word, name in _OF_ALL.items() if word in formats}


def write_files_of_all(
    files: dict[str, Path],
    images: Callable[[], Iterable[MaskedImage]],
    labels: Sequence[str] = (OBJECT,),
    ids: CocoIds | None = None,
    *,
    force: bool = False,
) -> None:
    """Write what :func:`files_of_all` named.

    images: returns all images in their order, each time it is called. ids: for COCO.
    """
    for word, path in files.items():
        if word == "coco":
            write_coco(path, images(), labels=labels, ids=ids, force=force)
        elif word == "parquet":
            write_parquet(path, images(), force=force)
        else:
            write_yolo_names(path, labels, force=force)


def labels_of_prompts(prompts: Iterable[ObjectPrompt]) -> tuple[str, ...]:
    """Return the labels of prompts as they first appear; "object" if there are none."""
    labels = (OBJECT if prompt.label is None else prompt.label for prompt in prompts)
    return tuple(dict.fromkeys(labels)) or (OBJECT,)


def _union(image: MaskedImage) -> BoolArray:
    """Return what lies in any of the masks, (H, W) bool; boundaries are joined, one mask at a time is in memory."""
    joined: AnyIntArray = np.zeros(0, np.int64)
    for record in image.records:
        joined = rle.union([joined, rle.boundaries_of_rle(record["segmentation"])])
    return rle.mask_of(joined, image.hw)
