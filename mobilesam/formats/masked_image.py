"""What every format holds: an image's masks, as the records of everything mode with uncompressed RLE.

Errors about the content of a file give the reason alone; the reader of the file puts it into a sentence.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from mobilesam.arrays import AnyIntArray
from mobilesam.errors import InputError
from mobilesam.files import is_number
from mobilesam.image.read import MAX_PIXELS
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord

OBJECT = "object"  # the label of what has none


class MaskedImage(NamedTuple):
    """An image's name and (height, width), and its masks as uncompressed RLE."""

    file_name: str
    hw: tuple[int, int]
    records: Sequence[MaskRecord]


def label_of(record: MaskRecord) -> str:
    """Return what a mask shows, "object" if that is not known."""
    return record.get("label", OBJECT)


def labels_of(images: Sequence[MaskedImage]) -> list[str]:
    """Return the labels of all masks in the order in which they first appear; "object" if there is no mask."""
    return list(dict.fromkeys(label_of(record) for image in images for record in image.records)) or [OBJECT]


def details_of(record: MaskRecord) -> dict[str, Any]:
    """Return what only some masks have: ``score`` and ``detection_id`` of a detector, and ``confidence``."""
    details: dict[str, Any] = {key: record[key] for key in ("score", "detection_id") if key in record}
    return details | ({"confidence": known(record["confidence"])} if "confidence" in record else {})


def known(score: float) -> float | None:
    """Return a score as the formats write it, with 4 decimals, or None where a file that was read had none (nan)."""
    return None if math.isnan(score) else round(score, 4)


def image_size(height: Any, width: Any) -> tuple[int, int]:
    """Return the (height, width) that a file states, if an image can have it; 640.0 is a whole number too.

    Raises:
        InputError: they are not whole numbers of at least 1, or have more than :data:`MAX_PIXELS` pixels.
    """
    stated = f"width {reprlib.repr(width)} and height {reprlib.repr(height)}"
    for side in (height, width):
        whole = isinstance(side, int) or (isinstance(side, float) and side.is_integer())
        if not whole or isinstance(side, bool) or side < 1:
            raise InputError(f"{stated}, which are not two positive whole numbers")
    if height * width > MAX_PIXELS:
        raise InputError(f"{stated}, which are more than {MAX_PIXELS / 1e6:g} million pixels")
    return int(height), int(width)


def read_record(
    boundaries: AnyIntArray,
    hw: tuple[int, int],
    *,
    predicted_iou: Any = None,
    stability_score: Any = None,
    point_coords: Any = (),
    label: Any = OBJECT,
    score: Any = None,
    detection_id: Any = None,
    confidence: Any = None,
) -> MaskRecord:
    """Return the record of a mask that was read from a file; scores that the file lacks are nan.

    ``score`` and ``detection_id`` are those of a detector; None is none, also for ``confidence``.

    A label of None is none, and a number is a label too.

    Raises:
        InputError: a score is not a number, the points are not pairs of numbers, or the label is neither
            text nor a number.
    """
    x1, y1, x2, y2 = rle.box(boundaries, hw[0])
    record: MaskRecord = {
        "segmentation": rle.to_uncompressed(boundaries, hw),
        "area": rle.area(boundaries),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "predicted_iou": _score(predicted_iou),
        "point_coords": _points(point_coords),
        "stability_score": _score(stability_score),
        "crop_box": [0, 0, hw[1], hw[0]],
    }
    if score is not None:
        record["score"] = _score(score)
    if detection_id is not None:
        record["detection_id"] = detection_id if isinstance(detection_id, int) else str(detection_id)
    if confidence is not None:
        record["confidence"] = _score(confidence)
    if label is None:
        return record
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        raise InputError(f"the label {reprlib.repr(label)}, which is neither text nor a number")
    return record if label == OBJECT else {**record, "label": str(label)}


def _score(value: Any) -> float:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    if not is_number(value):
        raise InputError(f"the score {reprlib.repr(value)}, which is not a number")
    return value


def _points(value: Any) -> list[list[float]]:
    points = [] if value is None else value
    if isinstance(points, list | tuple) and all(
        isinstance(point, list | tuple) and len(point) == 2 and all(map(is_number, point)) for point in points
    ):
        return [list(point) for point in points]
    raise InputError(f"the points {reprlib.repr(value)}, which are not a list of pairs of numbers")
