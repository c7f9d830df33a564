"""COCO's instance format: one JSON file for any number of pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam import rle
from mobilesam.automatic.records import MaskRecord, pixel_box
from mobilesam.files import write_bytes

CATEGORY = {"id": 1, "name": "object", "supercategory": ""}


class MaskedPicture(NamedTuple):
    """A picture's name and (height, width), and its masks as uncompressed RLE."""

    file_name: str
    hw: tuple[int, int]
    records: Sequence[MaskRecord]


def coco_dataset(pictures: Sequence[MaskedPicture]) -> dict[str, Any]:
    """Return pictures and masks in COCO's words: compressed RLE, one category, and the model's scores beside them."""
    images = []
    annotations: list[dict[str, Any]] = []
    for image_id, picture in enumerate(pictures, start=1):
        height, width = picture.hw
        images.append({"id": image_id, "file_name": picture.file_name, "width": width, "height": height})
        annotations += [
            {
                "id": len(annotations) + index,
                "image_id": image_id,
                "category_id": CATEGORY["id"],
                "segmentation": rle.coco_encode_rle(record["segmentation"]),
                "area": record["area"],
                "bbox": pixel_box(record),
                "iscrowd": 0,
                "score": round(record["predicted_iou"], 4),
                "stability_score": round(record["stability_score"], 4),
                "point_coords": record["point_coords"],
            }
            for index, record in enumerate(picture.records, start=1)
        ]
    return {"images": images, "annotations": annotations, "categories": [CATEGORY]}


def write_coco(path: Path, pictures: Sequence[MaskedPicture], *, force: bool = False) -> None:
    """Write :func:`coco_dataset` as JSON."""
    write_bytes(path, (json.dumps(coco_dataset(pictures)) + "\n").encode(), force=force)
