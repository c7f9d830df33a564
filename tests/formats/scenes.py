"""Masks that are hard on file formats."""

from __future__ import annotations

import cv2
import numpy as np

from mobilesam.formats.masked_image import MaskedImage, read_record
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord

HW = (120, 160)


def record(mask: np.ndarray, label: str = "object", **about) -> MaskRecord:
    hw = (mask.shape[0], mask.shape[1])
    about = {"predicted_iou": 0.91, "stability_score": 0.875, "point_coords": [[3.5, 4.0]]} | about
    return read_record(rle.boundaries_of(mask), hw, label=label, **about)


def disc(x: int, y: int, radius: int) -> np.ndarray:
    canvas = np.zeros(HW, np.uint8)
    cv2.circle(canvas, (x, y), radius, 1, -1)
    return canvas.astype(np.bool_)


def pixel(x: int, y: int) -> np.ndarray:
    mask = np.zeros(HW, np.bool_)
    mask[y, x] = True
    return mask


RING = disc(60, 60, 45) & ~disc(60, 60, 20)
MASKS = {
    "a disc": disc(30, 40, 25),
    "a hole and two parts": RING | disc(135, 30, 12),
    "an island in a hole": RING | disc(60, 60, 8),
    "a pixel in the last corner": pixel(159, 119),
    "a line": np.repeat(pixel(0, 7).any(axis=1)[:, None], HW[1], axis=1),
    "pixels that meet at corners": (np.indices(HW).sum(axis=0) % 2 == 0) & disc(99, 50, 12),
    "everything": np.ones(HW, np.bool_),
    "nothing": np.zeros(HW, np.bool_),
}
PHOTO = MaskedImage("photos/cat.jpg", HW, [record(mask) for mask in MASKS.values()])
LABELLED = MaskedImage("dog.png", HW, [record(MASKS["a disc"], "dog"), record(RING, 'ring: "round"')])
EMPTY = MaskedImage("none.png", (7, 9), [])


def masks_of(photo: MaskedImage) -> list[np.ndarray]:
    return [rle.rle_to_mask(each["segmentation"]) for each in photo.records]
