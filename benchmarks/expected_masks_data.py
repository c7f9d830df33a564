"""What the exact mode finds on images, to learn from and to simulate the other modes on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

import mobilesam
from benchmarks.everything import SAME
from mobilesam.automatic import SamAutomaticMaskGenerator
from mobilesam.automatic.exploration import Expectation, Exploration, appearance_of, vectors_at
from mobilesam.automatic.segment import PointDecoder, suppress
from mobilesam.image.read import read_image
from mobilesam.masks import rle
from mobilesam.masks.boxes import nms

CALL = 2  # points that are decoded at the same time, one for each of two workers
NMS_THRESHOLD = 0.7


@dataclass(frozen=True, eq=False)
class Photo:
    """The points of a grid on one image, N, the P masks that pass the filters, and the S that the exact mode returns.

    vectors: (N, 256) float16, the embedding at the points. points: (N, 2). inside: (N, N), for each point decoded which
    lie in its finest mask. mask_point: (P,). boxes: (P, 4). predicted_iou: (P,). same: (P, S).
    """

    name: str
    vectors: np.ndarray
    points: np.ndarray
    inside: np.ndarray
    mask_point: np.ndarray
    boxes: np.ndarray
    predicted_iou: np.ndarray
    same: np.ndarray

    @cached_property
    def gives(self) -> np.ndarray:
        """Which points give which masks of the exact mode, (N, S)."""
        gives = np.zeros((len(self.points), self.same.shape[1]), np.bool_)
        np.logical_or.at(gives, self.mask_point, self.same)
        return gives

    def count(self, taken: np.ndarray) -> int:
        """Return how many masks of the exact mode are found if these points are decoded."""
        used = np.flatnonzero(np.isin(self.mask_point, taken))
        if not len(used) or not self.same.shape[1]:
            return 0
        kept = used[nms(self.boxes[used], self.predicted_iou[used], NMS_THRESHOLD)]
        return int(self.same[kept].any(axis=0).sum())

    def explore(self, expectation: Expectation | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the points in the order in which they are decoded, and the logarithm of the masks expected of each."""
        exploration = Exploration(self.points, appearance_of(self.vectors.astype(np.float32)), limit, expectation)
        order, expected = [], []
        while True:
            values = exploration.log_expected()
            taken = exploration.take(CALL)
            if not len(taken):
                return np.array(order), np.array(expected)
            order += taken.tolist()
            expected += values[taken].tolist()
            for index in taken.tolist():
                exploration.learn(index, self.inside[index])


def read_photos(folder: Path) -> list[Photo]:
    """Read what :func:`make_data` wrote."""
    photos = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        count = len(arrays["points"])
        arrays["inside"] = np.unpackbits(arrays["inside"], axis=1, count=count).astype(np.bool_)
        photos.append(Photo(path.stem, **arrays))
    return photos


def make_data(paths: list[Path], out: Path) -> None:
    """Decode all points of the default grid on images, and write a file for each; half a minute each."""
    out.mkdir(exist_ok=True)
    model = mobilesam.load(backend="onnx")
    generator = SamAutomaticMaskGenerator(model, mode="balanced")
    settings, grid = generator.settings, generator.point_grids[0]
    for path in paths:
        image = read_image(path)
        hw = (image.shape[0], image.shape[1])
        crop = generator._encode(image, (0, 0, hw[1], hw[0]))
        decoder = PointDecoder(model, crop, grid, settings)
        decoded = model.in_workers(decoder.decode, [np.array([index]) for index in range(len(grid))])
        masks = [(index, mask) for index, ((passed,), _) in enumerate(decoded) for mask in passed]
        candidates = [mask for _, mask in masks]
        scores = np.array([mask.predicted_iou for mask in candidates], np.float64)
        kept = suppress(candidates, scores, settings.box_nms_thresh, model)
        encoded = [[rle.to_coco(mask.boundaries, hw) for mask in part] for part in (candidates, kept)]
        iou = np.asarray(coco.iou(*encoded, [0] * len(kept))).reshape(len(candidates), len(kept))
        features = model.dump_features(crop.embedding.features)
        np.savez_compressed(
            out / f"{path.stem}.npz",
            vectors=vectors_at(features, decoder._cells(features.shape[-1])).astype(np.float16),
            points=grid * np.array([hw[1], hw[0]]),
            inside=np.packbits(np.array([inside for _, (inside,) in decoded]), axis=1),
            mask_point=np.array([index for index, _ in masks], np.int64),
            boxes=np.array([mask.box for mask in candidates], np.float32).reshape(-1, 4),
            predicted_iou=scores,
            same=iou >= SAME,
        )
        print(f"{path.name}: {len(kept)} masks", flush=True)


def best_orders(photos: list[Photo]) -> Iterator[np.ndarray]:
    """Yield for each photo the order that finds most masks with each next point: what no mode can know."""
    for photo in photos:
        left, order = photo.gives.copy(), []
        while left.any():
            order.append(int(left.sum(axis=1).argmax()))
            left[:, left[order[-1]]] = False
        rest = itertools.filterfalse(set(order).__contains__, range(len(photo.points)))
        yield np.array([*order, *rest])
