"""Decode points and boxes in one crop of an image, and measure the masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mobilesam.arrays import BoolArray, FloatArray, FloatArray64, IntArray
from mobilesam.automatic import expected_masks
from mobilesam.automatic.exploration import MIN_PREDICTED_IOU, Exploration, appearance_of, inside_finest, vectors_at
from mobilesam.automatic.settings import Settings
from mobilesam.config import MULTIMASK, SINGLE_MASK
from mobilesam.geometry import points_to_model
from mobilesam.masks import regions, rle
from mobilesam.masks.boxes import nms
from mobilesam.masks.candidate import Box, Candidate, candidate_of, measure
from mobilesam.masks.upsampling import Frame
from mobilesam.model import Embedding, MaskModel
from mobilesam.prompts.arrays import make_prompts


class Crop(NamedTuple):
    """An encoded part of an image.

    box: x1 y1 x2 y2 in the image. image_hw: (height, width) of the image.
    """

    embedding: Embedding
    box: Box
    image_hw: tuple[int, int]


class PointDecoder:
    """Decodes points of a crop, (N, 2) x y in 0..1 of the crop, and filters the masks."""

    def __init__(self, model: MaskModel, crop: Crop, grid: FloatArray64, settings: Settings) -> None:
        self._model, self._crop, self._settings = model, crop, settings
        x1, y1, x2, y2 = crop.box
        self._points = grid * np.array([x2 - x1, y2 - y1])
        self._frame = frame_of(model, crop)
        hw = {"original_hw": self._frame.original_hw, "input_hw": self._frame.input_hw}
        self._places = points_to_model(self._points, **hw) / model.image_size
        self._prompts, _ = make_prompts(self._points[:, None], np.ones((len(grid), 1)), **hw)

    def exploration(self, learned: bool) -> Exploration:
        """Return the order in which the points are decoded.

        learned: whether the learned expectation is that of the model's masks.
        """
        appearance = expectation = None
        if self._settings.adaptive:
            features = self._model.dump_features(self._crop.embedding.features)
            vectors = vectors_at(features, self._cells(features.shape[-1]))
            appearance = appearance_of(vectors)
            expectation = expected_masks.expectation(vectors, self._settings.mode) if learned else None
        limit = self._settings.points_to_decode(self._points, learned)
        return Exploration(self._points, appearance, limit, expectation)

    def decode(self, model: MaskModel, indices: IntArray) -> tuple[list[list[Candidate]], list[BoolArray]]:
        """Decode a few points, as many as one call of the decoder takes.

        Args:
            model: the model, or its worker.
            indices: (K,), which points.

        Returns:
            For each point the candidates that pass the filters, and, in the adaptive modes, which points lie inside its
            finest mask, (N,) bool.
        """
        points, embedding = self._points[indices], self._crop.embedding
        scored = model.score_prompts(embedding, self._prompts[indices])
        scores = scored.iou_predictions
        threshold = self._settings.pred_iou_thresh
        keep = _above(scores, min(threshold, MIN_PREDICTED_IOU) if self._settings.adaptive else threshold)
        logits = model.upscale(scored, keep, embedding.input_hw) if len(keep) else np.zeros((0, 1, 1), np.float32)
        candidates: list[list[Candidate]] = [[] for _ in indices]
        for (prompt, mask), mask_logits in zip(keep, logits, strict=True):
            if threshold <= 0 or scores[prompt, mask] > np.float32(threshold):
                candidate = self._candidate(mask_logits, scores[prompt, mask], points[prompt])
                candidates[prompt] += [] if candidate is None else [candidate]
        inside = []
        if self._settings.adaptive:
            inside = [self._inside(logits[keep[:, 0] == prompt], index) for prompt, index in enumerate(indices)]
        return candidates, inside

    def _candidate(self, logits: FloatArray, predicted_iou: np.float32, point: FloatArray64) -> Candidate | None:
        x, y = (point + self._crop.box[:2]).tolist()
        return measure(
            logits,
            predicted_iou,
            self._frame,
            self._crop.box,
            self._crop.image_hw[0],
            threshold=self._model.mask_threshold,
            offset=self._settings.stability_score_offset,
            min_stability=self._settings.stability_score_thresh,
            point=(x, y),
        )

    def _inside(self, logits: FloatArray, index: int) -> BoolArray:
        """Return which points lie inside the finest of a point's masks, given as (C, 256, 256) logits."""
        if not len(logits):
            return np.zeros(len(self._points), np.bool_)
        cells = self._cells(logits.shape[-1])
        threshold, offset = self._model.mask_threshold, self._settings.stability_score_offset
        return inside_finest(logits, cells[index], cells, threshold, offset)

    def _cells(self, side: int) -> IntArray:
        """Return column and row of each point on a square grid over the padded image, (N, 2)."""
        return np.minimum(self._places * side, side - 1).astype(np.int64)


def decode_boxes(model: MaskModel, crop: Crop, boxes: FloatArray64, offset: float) -> list[Candidate]:
    """Return the single-mask output of each box, unfiltered, in a crop that is the whole image.

    Args:
        boxes: (B, 4), x1 y1 x2 y2 in pixels.
        offset: of the stability score.
    """
    embedding = crop.embedding
    prompts, _ = make_prompts(box=boxes, original_hw=embedding.original_hw, input_hw=embedding.input_hw)
    decoded = model.decode(embedding, prompts, SINGLE_MASK)
    return [
        candidate_of(logits, predicted_iou, frame_of(model, crop), threshold=model.mask_threshold, offset=offset)
        for logits, predicted_iou in zip(decoded.low_res_logits[:, 0], decoded.iou_predictions[:, 0], strict=True)
    ]


def suppress(
    candidates: Sequence[Candidate], scores: npt.ArrayLike, iou_threshold: float, model: MaskModel
) -> list[Candidate]:
    """Return the candidates that non-maximum suppression of their boxes keeps, best first, computed by the model."""
    boxes = np.array([candidate.box for candidate in candidates], np.float32)
    return [candidates[index] for index in model.nms(boxes, np.asarray(scores, np.float64), iou_threshold)]


def postprocess_small_regions(mask_data: Any, min_area: int, nms_thresh: float) -> Any:
    """Fill holes and remove islands of fewer pixels than ``min_area``, then remove duplicates, as SAM's generator does.

    Of two masks whose boxes have an IoU above ``nms_thresh``, one that did not change is kept.

    Args:
        mask_data: a :class:`mobilesam.utils.amg.MaskData` with ``rles``, uncompressed, and ``boxes``, x1 y1 x2 y2. It
            is changed and returned.
    """
    unchanged = []
    for index, encoded in enumerate(mask_data["rles"]):
        hw = (encoded["size"][0], encoded["size"][1])
        boundaries, changed = regions.clean(rle.boundaries_of_rle(encoded), hw, min_area)
        if changed:
            mask_data["rles"][index] = rle.to_uncompressed(boundaries, hw)
            for side, value in enumerate(rle.box(boundaries, hw[0])):
                mask_data["boxes"][index][side] = value
        unchanged.append(not changed)
    if unchanged:
        boxes = np.array([[float(side) for side in box] for box in mask_data["boxes"]])
        mask_data.filter(nms(boxes, np.array(unchanged, np.float32), nms_thresh))
    return mask_data


def frame_of(model: MaskModel, crop: Crop) -> Frame:
    """Return how the model's low-resolution logits lie on a crop."""
    return Frame(crop.embedding.input_hw, crop.embedding.original_hw, model.image_size)


def _above(iou_predictions: FloatArray, threshold: float) -> IntArray:
    """Return the rows (prompt, mask) of the multimask outputs whose predicted IoU is above the threshold."""
    first = MULTIMASK[0] if iou_predictions.shape[1] > 1 else SINGLE_MASK[0]
    scores = iou_predictions[:, first:]
    prompts, masks = np.nonzero(scores > np.float32(threshold) if threshold > 0 else np.ones_like(scores, np.bool_))
    return np.stack([prompts, masks + first], axis=1)
