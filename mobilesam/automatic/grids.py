"""Grids of points, and crops of an image."""

from __future__ import annotations

import itertools
import math

import numpy as np

from mobilesam.arrays import FloatArray64


def build_point_grid(n_per_side: int) -> FloatArray64:
    """Return the centers of n × n equal cells, row by row: (n * n, 2), x y in 0..1."""
    offset = 1 / (2 * n_per_side)
    places = np.linspace(offset, 1 - offset, n_per_side)
    x, y = np.meshgrid(places, places)
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def build_all_layer_point_grids(n_per_side: int, n_layers: int, scale_per_layer: int) -> list[FloatArray64]:
    """Return the grids of the whole image and of each crop layer, each with 1 / scale of the points per side before."""
    return [build_point_grid(int(n_per_side / scale_per_layer**layer)) for layer in range(n_layers + 1)]


def generate_crop_boxes(
    im_size: tuple[int, ...], n_layers: int, overlap_ratio: float
) -> tuple[list[list[int]], list[int]]:
    """Return overlapping crops of an image: boxes x1 y1 x2 y2, and the layer of each.

    Layer 0 is the whole image, layer i has 2^i × 2^i crops, or fewer if the image is too narrow.

    Args:
        im_size: (height, width).
        n_layers: layers beyond the whole image.
        overlap_ratio: overlap of the crops of layer 1 as a share of the image's shorter side; each further layer has
            half of it.
    """
    height, width = im_size
    boxes, layers = [[0, 0, width, height]], [0]
    for layer in range(1, n_layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(height, width) * (2 / count))
        crop_width, crop_height = (math.ceil((overlap * (count - 1) + side) / count) for side in (width, height))
        lefts = [(crop_width - overlap) * index for index in range(count)]
        tops = [(crop_height - overlap) * index for index in range(count)]
        for x, y in itertools.product(lefts, tops):
            if x < width and y < height:
                boxes.append([x, y, min(x + crop_width, width), min(y + crop_height, height)])
                layers.append(layer)
    return boxes, layers
