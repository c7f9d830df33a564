"""Masks at the original size of their image: from candidates, and cleaned of small holes and specks."""

from __future__ import annotations

import numpy as np

from mobilesam import segment
from mobilesam.masks import regions, rle
from mobilesam.masks.records import MaskRecord
from mobilesam.masks.upsampling import Frame
from mobilesam.model import MaskModel
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.serve.values import CandidateMasks, OpenImage

_SPECK = 1e-3  # of the pixels of an image: smaller holes are filled, and smaller parts removed


def record_of(
    image: OpenImage,
    prompt: ObjectPrompt,
    candidates: CandidateMasks,
    place: int,
    model: MaskModel,
    *,
    clean: bool = False,
) -> MaskRecord:
    """Return the candidate mask at a position as a record with an uncompressed RLE."""
    frame = Frame(candidates.input_hw, image.hw, model.image_size)
    record = segment.record_of(prompt, candidates.masks, place, frame, model.mask_threshold)
    return cleaned(record, image.hw) if clean else record


def least_region(hw: tuple[int, int]) -> float:
    """Return the pixels below which a hole is filled and a speck removed, in an image of (height, width)."""
    return _SPECK * hw[0] * hw[1]


def cleaned(record: MaskRecord, hw: tuple[int, int]) -> MaskRecord:
    """Return a record whose small holes are filled and whose specks are removed."""
    boundaries = rle.boundaries_of_rle(record["segmentation"])
    if not len(boundaries):
        return record
    boundaries, changed = regions.clean(boundaries, hw, least_region(hw))
    if not changed:
        return record
    x1, y1, x2, y2 = rle.box(boundaries, hw[0])
    segmentation = rle.to_uncompressed(boundaries, hw)
    return {**record, "segmentation": segmentation, "area": rle.area(boundaries), "bbox": [x1, y1, x2 - x1, y2 - y1]}


def compact(record: MaskRecord) -> MaskRecord:
    """Return a record with its run lengths in an array, which takes a ninth of the memory of a list."""
    segmentation = record["segmentation"]
    counts = np.array(segmentation["counts"], np.int32)
    return {**record, "segmentation": {"size": segmentation["size"], "counts": counts}}
