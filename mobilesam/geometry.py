"""The three frames of an image and the transforms between them.

- *original*: pixels of the image as given, (H, W);
- *model*: the image resized so that its longer side is ``image_size`` (1024), before padding to a square;
- *logits*: the 256 × 256 grid of low-resolution mask logits, a quarter of the padded square.

Points are (x, y), sizes are (height, width).
"""

from __future__ import annotations

import math

import numpy as np

from mobilesam.arrays import AnyFloatArray, FloatArray


def resized_hw(original_hw: tuple[int, int], image_size: int) -> tuple[int, int]:
    """Return the (height, width) of an image whose longer side is scaled to ``image_size``.

    The rounding is floor(x + 0.5), as in SAM's ResizeLongestSide; a side never becomes zero.
    """
    scale = image_size / max(original_hw)
    height, width = (max(1, math.floor(side * scale + 0.5)) for side in original_hw)
    return height, width


def covered_tokens(input_hw: tuple[int, int], image_size: int, grid_size: int) -> tuple[int, int]:
    """Return how many rows and columns of image tokens the upsampled mask of an image depends on.

    A token gives 4 × 4 logits, and bilinear upsampling uses the logits on both sides of a pixel.
    """
    logit = image_size / (4 * grid_size)  # in pixels
    last_logits = (int((side - 0.5) / logit + 0.5) for side in input_hw)
    rows, columns = (min(grid_size, last // 4 + 1) for last in last_logits)
    return rows, columns


def points_to_model(points: AnyFloatArray, original_hw: tuple[int, int], input_hw: tuple[int, int]) -> FloatArray:
    """Map points, (..., 2) float, x y in pixels of the original image, to the model frame, float32.

    The arithmetic is float64 until the end, as in the reference's NumPy path.
    """
    scale = np.array([input_hw[1] / original_hw[1], input_hw[0] / original_hw[0]])
    mapped: FloatArray = (np.asarray(points, dtype=np.float64) * scale).astype(np.float32)
    return mapped


def boxes_to_model(boxes: AnyFloatArray, original_hw: tuple[int, int], input_hw: tuple[int, int]) -> FloatArray:
    """Map boxes, (..., 4) float, x1 y1 x2 y2 in pixels of the original image, to the model frame, float32."""
    boxes = np.asarray(boxes)
    corners = boxes.reshape(*boxes.shape[:-1], 2, 2)
    return points_to_model(corners, original_hw, input_hw).reshape(boxes.shape)
