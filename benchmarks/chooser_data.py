"""Clicks on annotated objects, or boxes, with the features of their four masks and the true IoUs, to learn from."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mobilesam
from mobilesam.evaluate.coco import load_coco, read_instances
from mobilesam.finetune.chooser_rows import make_rows
from mobilesam.finetune.views import vary
from mobilesam.image.read import read_image

COMMERCIAL = ("CC0", "CC BY ", "CC BY-SA ")  # how the licenses begin that allow commercial use
_SMALLEST_AREA = 400  # of what is left of an object in a crop, in pixels


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
            varied, kept = vary(image, masks, variant, random)
            if variant >= 2:
                kept = [mask for mask in kept if np.count_nonzero(mask) >= _SMALLEST_AREA]
            for each in make_rows(model, model.encode(varied), kept, random, boxes=boxes):
                row = {**each._asdict(), "original": variant == 0, "image": entry["file_name"]}
                row |= {key: entry.get(key, "") for key in ("domain", "license")}
                for key, value in row.items():
                    columns[key].append(value)
        print(f"{number + 1} of {len(dataset.images)}", flush=True)
    np.savez_compressed(out, **{key: np.array(values) for key, values in columns.items()})
