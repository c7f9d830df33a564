"""Small data sets with known masks, and a predictor with known results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import skimage.filters
import skimage.measure
import skimage.segmentation
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.ndimage import binary_fill_holes

from tests.photos import photo

BoolMask = npt.NDArray[np.bool_]


def disc(hw: tuple[int, int], center: tuple[int, int], radius: int) -> BoolMask:
    """Return a disc; center is (x, y)."""
    rows, columns = np.ogrid[: hw[0], : hw[1]]
    return (columns - center[0]) ** 2 + (rows - center[1]) ** 2 <= radius**2


def compressed(mask: BoolMask) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def uncompressed(mask: BoolMask) -> dict[str, Any]:
    """Return run lengths counted one by one, column by column."""
    counts, value, run = [], False, 0
    for pixel in mask.flatten(order="F").tolist():
        if pixel != value:
            counts.append(run)
            value, run = pixel, 0
        run += 1
    return {"size": list(mask.shape), "counts": [*counts, run]}


def polygons(mask: BoolMask) -> list[list[float]]:
    """Return outlines along the outer edges of the border pixels."""
    enlarged = np.kron(mask.astype(np.uint8), np.ones((4, 4), np.uint8))
    contours, _ = cv2.findContours(enlarged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [((contour[:, 0] + 0.5) / 4).reshape(-1).tolist() for contour in contours]


def coins() -> list[BoolMask]:
    """Return the coins of skimage.data.coins, segmented by watershed."""
    gray = photo("coins")[..., 0]
    markers = np.zeros(gray.shape, int)
    markers[gray < 30], markers[gray > 150] = 1, 2
    filled = binary_fill_holes(skimage.segmentation.watershed(skimage.filters.sobel(gray), markers) == 2)
    labels = skimage.measure.label(filled)
    regions = [region for region in skimage.measure.regionprops(labels) if region.area > 500]
    return [labels == region.label for region in regions]


def write_coco(
    folder: Path,
    photos: Mapping[str, npt.NDArray[np.uint8]],
    annotations: Sequence[Mapping[str, Any]],
    domains: Mapping[str, str] | None = None,
) -> Path:
    """Write images as PNG and a COCO file; ``image_id`` of an annotation is an image's name."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for name, pixels in photos.items():
        Image.fromarray(pixels).save(folder / name)
        entry: dict[str, Any] = {"id": name, "file_name": name, "width": pixels.shape[1], "height": pixels.shape[0]}
        if domains:
            entry["domain"] = domains[name]
        images.append(entry)
    numbered = [{"id": number, "category_id": 1, **annotation} for number, annotation in enumerate(annotations, 1)]
    content = {"images": images, "annotations": numbered, "categories": [{"id": 1, "name": "disc"}]}
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


class BrightnessPredictor:
    """Predicts the bright pixels inside a box, or with the bright component under the first point.

    Mask 1 is that component, mask 2 everything bright, mask 3 the clicked pixel. Mask 2 is ranked first, as by a model
    that gets it wrong. The single mask is the component. It counts its calls.
    """

    def __init__(self) -> None:
        self.images = 0
        self.prompts: list[dict[str, Any]] = []

    def set_image(self, image: npt.NDArray[np.uint8]) -> None:
        self.images += 1
        self.bright = image[..., 0] > 127

    def predict(
        self,
        point_coords: Any = None,
        point_labels: Any = None,
        box: Any = None,
        mask_input: Any = None,
        multimask_output: bool = True,
    ) -> tuple[Any, Any, Any]:
        self.prompts.append({"points": point_coords, "labels": point_labels, "box": box, "mask_input": mask_input})
        masks = self._masks(point_coords, box)
        masks = masks[1:] if multimask_output else masks[:1]
        scores = np.array([0.7, 0.9, 0.1] if multimask_output else [0.8], dtype=np.float32)
        return np.stack(masks), scores, np.zeros((len(masks), 256, 256), np.float32)

    def _masks(self, points: Any, box: Any) -> list[BoolMask]:
        if box is not None:
            x1, y1, x2, y2 = np.round(box).astype(int)
            inside = np.zeros_like(self.bright)
            inside[y1:y2, x1:x2] = self.bright[y1:y2, x1:x2]
            return [inside, inside, self.bright, ~self.bright]
        x, y = np.asarray(points[0], dtype=int)
        labels = cv2.connectedComponents(self.bright.astype(np.uint8))[1]
        component = (labels == labels[y, x]) & self.bright
        pixel = np.zeros_like(self.bright)
        pixel[y, x] = True
        return [component, component, self.bright, pixel]
