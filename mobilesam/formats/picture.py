"""What every format holds: a picture's masks, as the records of everything mode with uncompressed RLE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from mobilesam import rle
from mobilesam.automatic.records import MaskRecord

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


def read_record(
    boundaries: rle.IntArray,
    hw: tuple[int, int],
    *,
    predicted_iou: float | None = None,
    stability_score: float | None = None,
    point_coords: Sequence[Sequence[float]] = (),
    label: str = OBJECT,
) -> MaskRecord:
    """Return the record of a mask that was read from a file; scores that the file lacks are nan."""
    x1, y1, x2, y2 = rle.box(boundaries, hw[0])
    record: MaskRecord = {
        "segmentation": rle.to_uncompressed(boundaries, hw),
        "area": rle.area(boundaries),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "predicted_iou": math.nan if predicted_iou is None else predicted_iou,
        "point_coords": [list(point) for point in point_coords],
        "stability_score": math.nan if stability_score is None else stability_score,
        "crop_box": [0, 0, hw[1], hw[0]],
    }
    return record if label == OBJECT else {**record, "label": label}
