"""labelme's JSON: one file a picture, to be corrected by hand.

An object is one polygon a part, all with one ``group_id``; a hole is joined to its outline by a bridge of no width,
because labelme's polygons have none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mobilesam import rle
from mobilesam.files import write_bytes
from mobilesam.formats.coco import CATEGORY, MaskedPicture
from mobilesam.formats.polygons import rings_of

_VERSION = "5.5.0"  # the release whose fields these are


def labelme_document(picture: MaskedPicture) -> dict[str, Any]:
    """Return a picture's masks in labelme's words; the picture itself is named, not included."""
    shapes = []
    for number, record in enumerate(picture.records, start=1):
        rings = rings_of(rle.rle_to_mask(record["segmentation"]))
        shapes += [
            {
                "label": CATEGORY["name"],
                "points": [[float(x), float(y)] for x, y in ring.tolist()],
                "group_id": number,
                "description": f"score {record['predicted_iou']:.4f}",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for ring in rings
        ]
    height, width = picture.hw
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": picture.file_name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def write_labelme(path: Path, picture: MaskedPicture, *, force: bool = False) -> None:
    """Write :func:`labelme_document` as JSON."""
    write_bytes(path, (json.dumps(labelme_document(picture), indent=1) + "\n").encode(), force=force)
