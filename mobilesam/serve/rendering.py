"""Masks in the forms that a response has: COCO run lengths, polygons, or PNG."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from mobilesam.formats.output import describe
from mobilesam.formats.polygons import rings_of
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord

FORMS = ("rle", "polygons", "png")


def png_of(record: MaskRecord) -> bytes:
    """Return the mask of a record as a PNG file of the size of its image, 255 on the object."""
    buffer = io.BytesIO()
    mask = rle.rle_to_mask(record["segmentation"])
    Image.fromarray(mask.view("uint8") * 255).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def rendered(record: MaskRecord, form: str) -> dict[str, Any]:
    """Return a record as JSON values.

    Args:
        record: with an uncompressed RLE.
        form: of ``segmentation``: "rle" for COCO's compressed run lengths, "polygons" for lists of x y x y ... in
            pixels, one for each part, whose filled outlines are the mask, or "png" for a PNG file in base64.
    """
    if form == "polygons":
        segmentation: Any = [ring.ravel().tolist() for ring in rings_of(rle.rle_to_mask(record["segmentation"]))]
    elif form == "png":
        segmentation = base64.b64encode(png_of(record)).decode("ascii")
    else:
        segmentation = rle.coco_encode_rle(record["segmentation"])
    exact = {name: record[name] for name in ("predicted_iou", "confidence") if name in record}
    return {"segmentation": segmentation} | describe(record) | exact
