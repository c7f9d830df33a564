"""Overlap, suppression and edges of boxes, against the plain definitions."""

from __future__ import annotations

import numpy as np
import pytest

from mobilesam.masks.boxes import box_iou, near_crop_edge, nms


def plain_nms(boxes, scores, threshold):
    """Go through boxes by score and keep one unless a kept one overlaps it, one pair at a time."""
    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        for other in kept:
            width = min(boxes[index][2], boxes[other][2]) - max(boxes[index][0], boxes[other][0])
            height = min(boxes[index][3], boxes[other][3]) - max(boxes[index][1], boxes[other][1])
            intersection = max(width, 0) * max(height, 0)
            areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (boxes[index], boxes[other])]
            union = sum(areas) - intersection
            if (intersection / union if union else boxes[index] == boxes[other]) > threshold:
                break
        else:
            kept.append(index)
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_is_the_plain_loop(threshold):
    random = np.random.default_rng(0)
    corners = random.integers(0, 40, (200, 2))
    boxes = np.concatenate([corners, corners + random.integers(0, 30, (200, 2))], axis=1)
    scores = random.integers(0, 50, 200) / 50  # with ties
    assert nms(boxes, scores, threshold).tolist() == plain_nms(boxes.tolist(), scores.tolist(), threshold)


def test_nms_of_nothing():
    assert nms(np.zeros((0, 4)), np.zeros(0), 0.7).tolist() == []


def test_of_equal_boxes_without_area_one_is_kept():
    line, other = [3, 0, 3, 9], [4, 0, 4, 9]
    assert nms(np.array([line, other, line]), np.ones(3), 0.5).tolist() == [0, 1]


def test_iou():
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(box_iou(others[0], others), [1, 1 / 3, 0])


@pytest.mark.parametrize(
    ("box", "near"),
    [
        ((300, 300, 350, 350), False),
        ((120, 300, 350, 350), True),  # 20 pixels from the left edge of the crop
        ((121, 300, 350, 350), False),
        ((300, 300, 480, 350), True),
        ((300, 0, 350, 350), False),  # the crop's upper edge is the image's
    ],
)
def test_near_an_edge_of_the_crop_that_is_none_of_the_photo(box, near):
    assert near_crop_edge(np.array([box]), (100, 0, 500, 600), (0, 0, 1000, 1000)).tolist() == [near]
