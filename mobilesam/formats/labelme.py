"""labelme's JSON: one file an image, to be corrected by hand.

An object is one polygon a part, all with one ``group_id``; a hole is joined to its outline by a bridge of no width,
because labelme's polygons have none.
"""

from __future__ import annotations

import base64
import json
import re
import reprlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mobilesam.arrays import AnyIntArray
from mobilesam.errors import InputError, sentence
from mobilesam.files import MALFORMED, MAX_TEXT_BYTES, is_number, parse_json, read_bytes, write_bytes
from mobilesam.formats.masked_image import MaskedImage, details_of, image_size, known, label_of, read_record
from mobilesam.formats.polygons import rings_of
from mobilesam.image.read import read_image
from mobilesam.masks import rle

_VERSION = "5.5.0"  # the release whose fields these are


def labelme_document(image: MaskedImage) -> dict[str, Any]:
    """Return an image's masks as a labelme document. It names the image and does not include it."""
    shapes: list[dict[str, Any]] = []
    for number, record in enumerate(image.records, start=1):
        rings = rings_of(rle.rle_to_mask(record["segmentation"]))
        about = {"predicted_iou": known(record["predicted_iou"]), **details_of(record)}
        shapes += [
            {
                "label": label_of(record),
                "points": [[float(x), float(y)] for x, y in ring.tolist()],
                "group_id": number,
                "description": "\n".join(f"{key} {_text(value)}" for key, value in about.items() if value is not None),
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for ring in rings
        ]
    height, width = image.hw
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image.file_name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def write_labelme(path: Path, image: MaskedImage, *, force: bool = False) -> None:
    """Write :func:`labelme_document` as JSON."""
    write_bytes(path, (json.dumps(labelme_document(image), indent=1) + "\n").encode(), force=force)


def read_labelme(path: Path) -> MaskedImage:
    """Read the masks of an image; shapes with one ``group_id`` are one mask.

    Raises:
        InputError: the file is not labelme's JSON, or has shapes without an area.
    """
    try:
        content = parse_json(read_bytes(path, MAX_TEXT_BYTES, pipes=True))
    except MALFORMED as error:
        raise _no_labelme(path, error) from error
    return parse_labelme(content, path)


def parse_labelme(content: Any, path: Path) -> MaskedImage:
    """Return what :func:`read_labelme` does for the JSON content of a file."""
    try:
        hw = image_size(content["imageHeight"], content["imageWidth"])
        masks: dict[Any, AnyIntArray] = {}  # boundaries
        about: dict[Any, dict[str, Any]] = {}
        for place, shape in enumerate(content["shapes"]):
            key = f"alone {place}" if shape.get("group_id") is None else shape["group_id"]
            area = _area(shape, hw)
            masks[key] = rle.union([masks[key], area]) if key in masks else area
            about.setdefault(key, shape)
        records = []
        for key, shape in about.items():
            description = shape.get("description") or ""
            given = dict(re.findall(r"^(predicted_iou|score|detection_id|confidence) (.+)$", description, re.M))
            iou, score = (_number(given.get(name)) for name in ("predicted_iou", "score"))
            if iou is None:  # of old
                iou, score = score, None
            records.append(
                read_record(
                    masks[key],
                    hw,
                    predicted_iou=iou,
                    label=_label(shape["label"]),
                    score=score,
                    detection_id=given.get("detection_id"),
                    confidence=_number(given.get("confidence")),
                )
            )
        return MaskedImage(str(content["imagePath"]), hw, records)
    except MALFORMED as error:
        raise _no_labelme(path, error) from error


def _no_labelme(path: Path, error: Exception) -> InputError:
    actual = str(error) if isinstance(error, InputError) else repr(error)
    return InputError(sentence(path.name, "be labelme's JSON", actual, "save it with labelme again"))


def _text(value: float | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _label(value: Any) -> str | None:
    return None if value is None else str(value)


def _area(shape: dict[str, Any], hw: tuple[int, int]) -> AnyIntArray:
    """Return the boundaries of the mask that labelme makes of a shape."""
    kind, points = shape.get("shape_type") or "polygon", [(float(x), float(y)) for x, y in shape["points"]]
    if not all(is_number(value) for point in points for value in point):
        raise InputError(f"the points {reprlib.repr(points)}, which are not pairs of finite numbers")
    canvas = Image.new("1", (hw[1], hw[0]))
    draw = ImageDraw.Draw(canvas)
    if kind == "polygon":
        draw.polygon(points, outline=1, fill=1)
    elif kind == "rectangle":
        (x1, y1), (x2, y2) = points
        draw.rectangle((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), outline=1, fill=1)
    elif kind == "circle":
        (x, y), edge = points
        radius = float(np.hypot(edge[0] - x, edge[1] - y))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)
    elif kind == "mask":
        try:
            stencil = Image.fromarray(read_image(base64.b64decode(shape["mask"]))[..., 0] > 127)
        except InputError as error:
            raise InputError("a mask that is not a readable image") from error
        canvas.paste(stencil, (round(points[0][0]), round(points[0][1])))
    else:
        raise InputError(f"the shape_type {reprlib.repr(kind)}, which is not polygon, rectangle, circle or mask")
    box = canvas.getbbox() or (0, 0, 0, 0)
    return rle.boundaries_of_columns(np.array(canvas.crop(box), np.bool_).T, box[:2], hw[0])
