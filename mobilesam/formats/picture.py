"""What every format holds: a picture's masks, as the records of everything mode with uncompressed RLE."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from mobilesam import rle
from mobilesam.automatic.records import MaskRecord
from mobilesam.errors import InputError, sentence
from mobilesam.image import MAX_PIXELS
from mobilesam.reading import is_number

OBJECT = "object"  # the label of what has none


class MaskedPicture(NamedTuple):
    """A picture's name and (height, width), and its masks as uncompressed RLE."""

    file_name: str
    hw: tuple[int, int]
    records: Sequence[MaskRecord]


def label_of(record: MaskRecord) -> str:
    """Return what a mask shows, "object" if that is not known."""
    return record.get("label", OBJECT)


def labels_of(pictures: Sequence[MaskedPicture]) -> list[str]:
    """Return the labels of all masks in the order in which they first appear; "object" if there is no mask."""
    return list(dict.fromkeys(label_of(record) for picture in pictures for record in picture.records)) or [OBJECT]


def known(score: float) -> float | None:
    """Return a score as the formats write it, with 4 decimals, or None where a file that was read had none (nan)."""
    return None if math.isnan(score) else round(score, 4)


def image_size(height: Any, width: Any) -> tuple[int, int]:
    """Return the (height, width) that a file states, if an image can have it.

    Raises:
        InputError: they are not whole numbers of at least 1, or have more than :data:`MAX_PIXELS` pixels.
    """
    for side in (height, width):
        if not isinstance(side, int) or isinstance(side, bool) or side < 1:
            actual = f"width {reprlib.repr(width)} and height {reprlib.repr(height)}"
            raise InputError(sentence("the size of an image", "be two positive whole numbers", actual, "add both"))
    if height * width > MAX_PIXELS:
        actual = f"{reprlib.repr(width)} x {reprlib.repr(height)}"
        requirement = f"have at most {MAX_PIXELS / 1e6:g} million pixels"
        raise InputError(sentence("the size of an image", requirement, actual, "check the file"))
    return height, width


def read_record(
    boundaries: rle.IntArray,
    hw: tuple[int, int],
    *,
    predicted_iou: Any = None,
    stability_score: Any = None,
    point_coords: Any = (),
    label: Any = OBJECT,
) -> MaskRecord:
    """Return the record of a mask that was read from a file; scores that the file lacks are nan.

    Raises:
        InputError: a score is no number, the points are no pairs of numbers, or the label is no text.
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
    if not isinstance(label, str):
        raise InputError(sentence("the label of a mask", "be text", reprlib.repr(label), "correct it"))
    return record if label == OBJECT else {**record, "label": label}


def _score(value: Any) -> float:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    if not is_number(value):
        raise InputError(sentence("the score of a mask", "be a number", reprlib.repr(value), "correct it"))
    return value


def _points(value: Any) -> list[list[float]]:
    points = [] if value is None else value
    if isinstance(points, list | tuple) and all(
        isinstance(point, list | tuple) and len(point) == 2 and all(map(is_number, point)) for point in points
    ):
        return [list(point) for point in points]
    actual = reprlib.repr(value)
    raise InputError(sentence("the points of a mask", "be pairs of numbers", actual, "write [[x, y]]"))
