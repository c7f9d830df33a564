"""The files that ``mobilesam predict`` writes for an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mobilesam.arrays import UInt8Array
from mobilesam.formats import png
from mobilesam.formats.naming import Names
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord, pixel_box
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.prompts.schema import entry_of
from mobilesam.visualize import overlay

FORMATS = ("overlay", "mask", "cutout")


def write_picture(
    names: Names,
    image: UInt8Array,
    prompts: Sequence[ObjectPrompt],
    found: Sequence[Sequence[MaskRecord]],
    words: Sequence[str],
    force: bool,
) -> dict[str, Any]:
    """Write the files of one image and return their description: its ``objects`` and ``files``, ready for JSON.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: the masks of each prompt's object as uncompressed RLE, best first, as many for each.
    """
    objects: list[dict[str, Any]] = [
        {"prompt": entry_of(prompt), "masks": [_describe(record) | {"files": {}} for record in records]}
        for prompt, records in zip(prompts, found, strict=True)
    ]
    files: dict[str, list[str]] = {}
    for word in words:
        if word == "overlay":
            files[word] = _write_overlays(names, image, prompts, found, force)
            continue
        for index, records in enumerate(found):
            for rank, record in enumerate(records):
                path = names.path(word, index, rank)
                mask = rle.rle_to_mask(record["segmentation"])
                if word == "mask":
                    png.write_mask(path, mask, force=force)
                else:
                    png.write_cutout(path, image, mask, force=force)
                objects[index]["masks"][rank]["files"][word] = str(path)
    return {"objects": objects, "files": files}


def written(picture: dict[str, Any]) -> list[str]:
    """Return the files in a description that :func:`write_picture` made."""
    of_masks = [mask["files"].values() for item in picture["objects"] for mask in item["masks"]]
    return [path for paths in [*picture["files"].values(), *of_masks] for path in paths]


def _write_overlays(
    names: Names,
    image: UInt8Array,
    prompts: Sequence[ObjectPrompt],
    found: Sequence[Sequence[MaskRecord]],
    force: bool,
) -> list[str]:
    paths = [names.path("overlay", rank=rank) for rank in range(max(map(len, found)))]
    for rank, path in enumerate(paths):
        drawn = overlay(
            image,
            [rle.rle_to_mask(records[rank]["segmentation"]) for records in found],
            point_coords=[point for prompt in prompts for point in prompt.points],
            point_labels=[label for prompt in prompts for label in prompt.labels],
            boxes=[prompt.box for prompt in prompts if prompt.box],
        )
        png.write_image(path, drawn, force=force)
    return [str(path) for path in paths]


def _describe(record: MaskRecord) -> dict[str, Any]:
    """Return the score, the area in pixels and the bounding box, x y width height, of a mask."""
    return {"score": round(record["predicted_iou"], 4), "area": record["area"], "bbox": pixel_box(record)}
