"""Clicks on annotated objects, or boxes, with the features of their four masks and the true IoUs, to learn from."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import mobilesam
from mobilesam.config import ALL_MASKS
from mobilesam.evaluate.clicks import center_click
from mobilesam.evaluate.coco import load_coco, read_instances
from mobilesam.evaluate.metrics import iou, tight_box
from mobilesam.image.read import read_image
from mobilesam.masks import box_chooser, chooser
from mobilesam.masks.selection import choose
from mobilesam.masks.upsampling import upsample
from mobilesam.prompts.arrays import Prompts, make_prompts

RANDOM_CLICKS = 3  # of an object, beside the inmost one
INEXACT = (0.05, 0.1)  # how far the edges of an inexact box are moved, in its sides
COMMERCIAL = ("CC0", "CC BY ", "CC BY-SA ")  # how the licenses begin that allow commercial use
_SMALLEST_PART = 0.6  # of an object that is kept in a crop
_SMALLEST_AREA = 400  # of such a part, in pixels


@dataclass(frozen=True, eq=False)
class Data:
    """N clicks, or boxes.

    features: (N, F). truth: (N, 4), true IoUs. predicted: (N, 4). agreement: (N,), the mask by that rule.
    inmost: (N,), whether it is the inmost pixel of the object, or its exact box. original: (N,), whether the image is
    as it was given.
    domain, image, license: (N,) text.
    """

    features: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    agreement: np.ndarray
    inmost: np.ndarray
    original: np.ndarray
    domain: np.ndarray
    image: np.ndarray
    license: np.ndarray

    @property
    def commercial(self) -> np.ndarray:
        """Which clicks are on images whose license allows commercial use."""
        return np.array([text.startswith(COMMERCIAL) for text in self.license])


def read_data(path: Path) -> Data:
    """Read what :func:`make_data` wrote."""
    with np.load(path) as archive:
        return Data(**{name: archive[name] for name in archive.files})


def make_data(
    images: Path, annotations: Path, out: Path, *, boxes: bool, augment: bool, limit: int | None = None
) -> None:
    """Decode clicks on all objects, or their boxes, and write them as .npz.

    With ``augment`` also in mirrored and cropped images.
    """
    model = mobilesam.load()
    about = {entry["file_name"]: entry for entry in json.loads(annotations.read_text(encoding="utf-8"))["images"]}
    dataset = load_coco(annotations, images, limit=limit)
    columns: dict[str, list[Any]] = defaultdict(list)
    for number, annotated in enumerate(dataset.images):
        image = read_image(annotated.path)
        instances, _ = read_instances(annotated, (image.shape[0], image.shape[1]), dataset.categories)
        masks = [instance.mask for instance in instances]
        entry = about[annotated.path.name]
        for variant in range(4 if augment else 1):
            random = np.random.default_rng([number, variant])
            varied, kept = _vary(image, masks, mirror=variant % 2 == 1, crop=variant >= 2, random=random)
            for row in _rows(model, varied, kept, random, boxes=boxes):
                row |= {"original": variant == 0, "image": entry["file_name"]}
                row |= {key: entry.get(key, "") for key in ("domain", "license")}
                for key, value in row.items():
                    columns[key].append(value)
        print(f"{number + 1} of {len(dataset.images)}", flush=True)
    np.savez_compressed(out, **{key: np.array(values) for key, values in columns.items()})


def _vary(
    image: np.ndarray, masks: list[np.ndarray], *, mirror: bool, crop: bool, random: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the image mirrored or cropped, with the masks that are still there."""
    if crop:
        sides = [round(side * random.uniform(0.6, 0.85)) for side in image.shape[:2]]
        starts = [int(random.integers(0, full - side + 1)) for full, side in zip(image.shape, sides, strict=False)]
        window = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        image = image[window]
        masks = [
            mask[window]
            for mask in masks
            if np.count_nonzero(mask[window]) >= max(_SMALLEST_AREA, _SMALLEST_PART * np.count_nonzero(mask))
        ]
    if mirror:
        image, masks = image[:, ::-1], [mask[:, ::-1] for mask in masks]
    return np.ascontiguousarray(image), [np.ascontiguousarray(mask) for mask in masks]


def _rows(
    model: Any, image: np.ndarray, masks: list[np.ndarray], random: np.random.Generator, *, boxes: bool
) -> Iterator[dict[str, Any]]:
    """Yield the rows of two boxes of each object, the exact one first; or of clicks, the inmost one first."""
    embedding = model.encode(image)
    for mask in masks:
        if boxes:
            exact = tight_box(mask)
            given = {"box": [exact, _inexact(exact, random)]}
        else:
            center = center_click(mask)
            points = [(center.x, center.y), *_random_points(mask, random)]
            given = {"point_coords": [[point] for point in points], "point_labels": [[1]] * len(points)}
        prompts, _ = make_prompts(**given, original_hw=embedding.original_hw, input_hw=embedding.input_hw)
        yield from _decoded(model, embedding, mask, prompts)


def _decoded(model: Any, embedding: Any, mask: np.ndarray, prompts: Prompts) -> Iterator[dict[str, Any]]:
    """Yield a row for each prompt of an object; the first is the inmost click or the exact box."""
    size = embedding.input_hw, model.image_size
    decoded = model.decode(embedding, prompts, ALL_MASKS)
    for place, (logits, ious, coords) in enumerate(zip(*decoded, prompts.point_coords, strict=True)):
        full = upsample(logits, embedding.input_hw, embedding.original_hw, model.image_size, threshold=0.0)
        features = (
            box_chooser.features_of(logits, ious, coords, *size)
            if prompts.single_box
            else chooser.features_of(logits, ious, coords[0], *size)
        )
        yield {
            "features": features,
            "truth": np.array([iou(each, mask) for each in full], np.float32),
            "predicted": ious,
            "agreement": choose("agreement", logits, ious),
            "inmost": place == 0,
        }


def _inexact(box: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a box whose edges are moved by a normal of 5 to 10 % of its sides, cut off at two deviations."""
    sides = np.tile(box[2:] - box[:2], 2)
    moved = box + random.uniform(*INEXACT) * sides * random.normal(size=4).clip(-2, 2)
    return np.concatenate([np.minimum(moved[:2], moved[2:] - 2), np.maximum(moved[2:], moved[:2] + 2)])


def _random_points(mask: np.ndarray, random: np.random.Generator) -> list[tuple[int, int]]:
    """Return inner points, the more likely the further inside they are."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rows, columns = np.nonzero(mask)
    weights = depth[rows, columns].astype(np.float64)
    count = min(RANDOM_CLICKS, len(rows))
    places = random.choice(len(rows), size=count, replace=False, p=weights / weights.sum())
    return [(int(columns[place]), int(rows[place])) for place in places]
