"""What everything mode returns: SAM's records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NotRequired, TypedDict

from mobilesam.arrays import AnyIntArray
from mobilesam.masks import rle
from mobilesam.masks.candidate import Box, Candidate


class MaskRecord(TypedDict):
    """One mask, under SAM's keys.

    segmentation: (H, W) bool, or a run-length encoding, as ``output_mode`` says.
    area: pixels. bbox, crop_box: x y width height.
    predicted_iou: the model's own estimate of the mask's quality.
    point_coords: the point that the model was given, [[x, y]], empty if it was a box.
    stability_score: IoU of the masks at a higher and at a lower threshold.
    prompt_box: x1 y1 x2 y2 of the box that the model was given, only where it was one.
    label: what the mask shows, only where the prompt or the file that was read says so.
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


class MaskRecords(list[MaskRecord]):
    """A list of records; ``partial`` is true where a cancel or a time budget ended the run early."""

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
    """Return the x y width height that a mask covers, as COCO counts them; its segmentation is an uncompressed RLE.

    SAM's own ``bbox`` is one pixel narrower and lower.
    """
    boundaries = rle.boundaries_of_rle(record["segmentation"])
    if not len(boundaries):
        return [0, 0, 0, 0]
    x1, y1, x2, y2 = rle.box(boundaries, record["segmentation"]["size"][0])
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]


def _xywh(box: Box) -> list[int]:
    """As in the reference, width and height are differences of inclusive corners: one less than the pixels covered."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
