"""Box arrays: IoU, non-maximum suppression, and nearness to the edges of a crop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mobilesam.arrays import AnyFloatArray, Array, BoolArray, FloatArray, IntArray

EDGE_TOLERANCE = 20.0  # pixels, as in the reference's automatic mask generator


def box_iou(box: FloatArray, boxes: FloatArray) -> FloatArray:
    """Return the IoU of one box, (4,), with others, (N, 4), all x1 y1 x2 y2; 1 for equal boxes, even without area."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    intersection = np.maximum(sides, 0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - intersection
    same = (boxes == box).all(axis=1)
    iou: FloatArray = np.divide(intersection, union, out=same.astype(np.float32), where=union > 0)
    return iou


def nms(boxes: Array, scores: AnyFloatArray, iou_threshold: float) -> IntArray:
    """Return the indices of boxes to keep, best score first; equal scores keep their order.

    A box is removed when its IoU with a kept one exceeds the threshold. The arithmetic is float32, as in torchvision.

    Args:
        boxes: (N, 4) x1 y1 x2 y2.
        scores: (N,).
    """
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)
    left = np.argsort(-np.asarray(scores), kind="stable")
    keep = []
    while len(left):
        best, left = left[0], left[1:]
        keep.append(best)
        left = left[~(box_iou(corners[best], corners[left]).astype(np.float64) > iou_threshold)]
    return np.array(keep, dtype=np.int64)


def near_crop_edge(
    boxes: Array, crop_box: Sequence[int], image_box: Sequence[int], tolerance: float = EDGE_TOLERANCE
) -> BoolArray:
    """Return which boxes are near an edge of their crop that is no edge of the image, (N,) bool.

    Args:
        boxes: (N, 4) x1 y1 x2 y2 in the image.
        crop_box: x1 y1 x2 y2 in the image. image_box: 0 0 width height.
        tolerance: the distance in pixels that is still near.
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    at_crop = np.abs(corners - np.array(crop_box)) <= tolerance
    at_image = np.abs(corners - np.array(image_box)) <= tolerance
    near: BoolArray = (at_crop & ~at_image).any(axis=1)
    return near
