"""The cases of ``mobilesam verify``: drawn images of five shapes, and every kind of prompt.

No files are read, so the results are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mobilesam.arrays import UInt8Array

# (height, width): landscape, portrait, square, panorama, and a strip; none has a side of 1024.
SHAPES = {
    "landscape": (600, 900),
    "portrait": (900, 600),
    "square": (700, 700),
    "panorama": (400, 1600),
    "strip": (1500, 250),
}


COUNTS = (1, 2, 5, 9)  # of the points of a prompt


class Case(NamedTuple):
    """The arguments of ``predict``; with ``feedback`` its best mask is the mask_input of a second call."""

    name: str
    prompt: dict[str, Any]
    feedback: bool = False


def synthetic_image(shape: str) -> UInt8Array:
    """Return an image, (H, W, 3) uint8, of discs on a soft background."""
    height, width = SHAPES[shape]
    generator = np.random.default_rng(len(shape))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack([120 + 60 * np.sin(x / 97), 120 + 60 * np.cos(y / 71), 90 + 0.05 * (x + y)], axis=-1)
    for _ in range(12):
        center, radius = generator.random(2) * (height, width), generator.uniform(0.06, 0.2) * min(height, width)
        inside = (y - center[0]) ** 2 + (x - center[1]) ** 2 < radius**2
        image[inside] = generator.uniform(0, 255, 3)
    image += generator.normal(0, 6, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def frame_image(frame_hw: tuple[int, int]) -> UInt8Array:
    """Return the part of the square image that has the shape of a frame, (height, width) in the model frame."""
    image = synthetic_image("square")
    height, width = (max(1, image.shape[0] * side // max(frame_hw)) for side in frame_hw)
    return np.ascontiguousarray(image[:height, :width])


def cases(shape: str, counts: Sequence[int] = COUNTS, size_hw: tuple[int, int] | None = None) -> Iterator[Case]:
    """Yield prompts for an image: some numbers of points, a box, a box with a point, and an earlier mask.

    Args:
        shape: one of SHAPES, or any name with ``size_hw``, the (height, width) of the image.
    """
    height, width = size_hw or SHAPES[shape]
    generator = np.random.default_rng(len(shape) + 100)
    most = max(*counts, *COUNTS)
    points = generator.random((most, 2)) * (width, height)
    labels = np.resize([1, 1, 0, 1, 0, 1, 1, 0, 1], most)
    for count in counts:
        yield Case(
            "1 point" if count == 1 else f"{count} points",
            {"point_coords": points[:count], "point_labels": labels[:count]},
        )
    box = [0.2 * width, 0.25 * height, 0.7 * width, 0.8 * height]
    inside = np.array([[0.45 * width, 0.5 * height]])
    yield Case("box", {"box": box})
    yield Case("box and point", {"box": box, "point_coords": inside, "point_labels": [1]})
    yield Case("earlier mask", {"point_coords": inside, "point_labels": [1]}, feedback=True)
