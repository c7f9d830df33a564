"""Mask records, as SAM's automatic mask generator returns them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NotRequired, TypedDict

from mobilesam.arrays import AnyIntArray
from mobilesam.masks import rle
from mobilesam.masks.candidate import Box, Candidate


class MaskRecord(TypedDict):
    """One mask, with SAM's keys.

    segmentation: (H, W) bool, or a run-length encoding, by ``output_mode``.
    area: pixels. bbox, crop_box: x y width height.
    predicted_iou: the IoU that the model predicts for the mask.
    point_coords: the point prompt, [[x, y]]; empty for a box prompt.
    stability_score: IoU of the masks at a higher and a lower threshold.
    prompt_box: x1 y1 x2 y2 of the box prompt, if it was one.
    label: what the mask shows, if the prompt or the file has a label.
    score, detection_id: those of the detector that the prompt comes from.
    confidence: the IoU to expect with the object that was meant, see :mod:`mobilesam.masks.chooser`; absent where it is
        not known.
    """

    segmentation: Any
    area: int
    bbox: list[int]
    predicted_iou: float
    point_coords: list[list[float]]
    stability_score: float
    crop_box: list[int]
    prompt_box: NotRequired[list[float]]
    label: NotRequired[str]
    score: NotRequired[float]
    detection_id: NotRequired[int | str]
    confidence: NotRequired[float]


class MaskRecords(list[MaskRecord]):
    """A list of records; ``partial`` is true if the run was canceled or its time budget was used up."""

    def __init__(self, records: Iterable[MaskRecord] = (), *, partial: bool = False) -> None:
        super().__init__(records)
        self.partial = partial


_ENCODERS: dict[str, Callable[[AnyIntArray, tuple[int, int]], Any]] = {
    "binary_mask": rle.mask_of,
    "uncompressed_rle": rle.to_uncompressed,
    "coco_rle": rle.to_coco,
}


def make_record(candidate: Candidate, hw: tuple[int, int], output_mode: str) -> MaskRecord:
    """Return the record of a candidate in an image of (height, width)."""
    return {
        "segmentation": _ENCODERS[output_mode](candidate.boundaries, hw),
        "area": rle.area(candidate.boundaries),
        "bbox": _xywh(candidate.box),
        "predicted_iou": float(candidate.predicted_iou),
        "point_coords": [] if candidate.point is None else [list(candidate.point)],
        "stability_score": float(candidate.stability),
        "crop_box": _xywh(candidate.crop_box),
    }


def pixel_box(record: MaskRecord) -> list[int]:
    """Return the COCO bounding box, x y width height, of a record whose segmentation is an uncompressed RLE.

    SAM's ``bbox`` is one pixel narrower and lower.
    """
    boundaries = rle.boundaries_of_rle(record["segmentation"])
    if not len(boundaries):
        return [0, 0, 0, 0]
    x1, y1, x2, y2 = rle.box(boundaries, record["segmentation"]["size"][0])
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]


def _xywh(box: Box) -> list[int]:
    """Width and height are differences of inclusive corners, as in the reference: one pixel too small."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
