"""What the model answers for points and boxes in one crop of an image, as candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mobilesam.arrays import BoolArray, FloatArray, FloatArray64, IntArray
from mobilesam.automatic import exploration
from mobilesam.automatic.settings import Settings
from mobilesam.config import MULTIMASK, SINGLE_MASK
from mobilesam.geometry import points_to_model
from mobilesam.masks import rle
from mobilesam.masks.candidate import Box, Candidate, candidate_of, measure
from mobilesam.masks.upsampling import Frame
from mobilesam.model import Embedding, MaskModel
from mobilesam.prompts.arrays import make_prompts


class Crop(NamedTuple):
    """A part of an image that was encoded by itself.

    box: x1 y1 x2 y2 in the image. image_hw: (height, width) of the image.
    """

    embedding: Embedding
    box: Box
    image_hw: tuple[int, int]


class Asker:
    """Asks a model at some of the points of a crop.

    Args:
        points: (N, 2), x y in pixels of the crop.
    """

    def __init__(self, model: MaskModel, crop: Crop, points: FloatArray64, settings: Settings) -> None:
        self._model, self._crop, self._points, self._settings = model, crop, points, settings
        self._frame = frame_of(model, crop)
        self._places = points_to_model(points, self._frame.original_hw, self._frame.input_hw) / model.image_size
        embedding = crop.embedding
        self._prompts, _ = make_prompts(
            points[:, None], np.ones((len(points), 1)), original_hw=embedding.original_hw, input_hw=embedding.input_hw
        )

    def exploration(self) -> exploration.Exploration:
        """Return a plan of which points to ask."""
        features = self._model.dump_features(self._crop.embedding.features)
        looks = exploration.looks_at(features, self._cells(features.shape[-1]))
        return exploration.Exploration(self._points, looks, self._settings.points_asked(self._points))

    def ask(
        self, model: MaskModel, indices: IntArray, *, looking_around: bool
    ) -> tuple[list[list[Candidate]], list[BoolArray]]:
        """Ask at a few points, as many as one call of the decoder takes.

        Args:
            model: the model, or its worker.

        Returns:
            For each point the candidates that pass the filters, and, if looking around, which points lie inside its
            finest answer, (N,) bool.
        """
        points, embedding = self._points[indices], self._crop.embedding
        scored = model.score_prompts(embedding, self._prompts[indices])
        scores = scored.iou_predictions
        threshold = self._settings.pred_iou_thresh
        lowest = min(threshold, exploration.MIN_PREDICTED_IOU) if looking_around else threshold
        keep = _above(scores, lowest)
        logits = model.upscale(scored, keep, embedding.input_hw) if len(keep) else np.zeros((0, 1, 1), np.float32)
        found: list[list[Candidate]] = [[] for _ in indices]
        for (prompt, mask), answer in zip(keep, logits, strict=True):
            if threshold <= 0 or scores[prompt, mask] > np.float32(threshold):
                found[prompt] += self._candidate(answer, scores[prompt, mask], points[prompt])
        inside = []
        if looking_around:
            inside = [self._inside(logits[keep[:, 0] == prompt], index) for prompt, index in enumerate(indices)]
        return found, inside

    def _candidate(self, logits: FloatArray, score: np.float32, point: FloatArray64) -> list[Candidate]:
        """Return the candidate of a mask, or none if it is not stable enough."""
        crop, settings = self._crop, self._settings
        measured = measure(
            logits,
            self._frame,
            crop.box[:2],
            crop.image_hw[0],
            threshold=self._model.mask_threshold,
            offset=settings.stability_score_offset,
            min_stability=settings.stability_score_thresh,
        )
        if measured is None:
            return []
        box = rle.box(measured.boundaries, crop.image_hw[0])
        x, y = (point + crop.box[:2]).tolist()
        return [Candidate(measured.boundaries, box, score, measured.stability, (x, y), crop.box)]

    def _inside(self, logits: FloatArray, index: int) -> BoolArray:
        """Return which points lie inside the finest of the answers, (C, 256, 256), to one of them."""
        if not len(logits):
            return np.zeros(len(self._points), np.bool_)
        cells = self._cells(logits.shape[-1])
        threshold, offset = self._model.mask_threshold, self._settings.stability_score_offset
        return exploration.inside_finest(logits, cells[index], cells, threshold, offset)

    def _cells(self, side: int) -> IntArray:
        """Return column and row of each point on a square grid over the padded image, (N, 2)."""
        return np.minimum(self._places * side, side - 1).astype(np.int64)


def ask_boxes(model: MaskModel, crop: Crop, boxes: FloatArray64, offset: float) -> list[Candidate]:
    """Return the single-mask answer to each of a few boxes in a crop that is the whole image, whatever its quality.

    Args:
        boxes: (B, 4), x1 y1 x2 y2 in pixels.
        offset: of the stability score.
    """
    embedding = crop.embedding
    prompts, _ = make_prompts(box=boxes, original_hw=embedding.original_hw, input_hw=embedding.input_hw)
    decoded = model.decode(embedding, prompts, SINGLE_MASK)
    answers = zip(decoded.low_res_logits[:, 0], decoded.iou_predictions[:, 0], strict=True)
    return [
        candidate_of(logits, score, frame_of(model, crop), threshold=model.mask_threshold, offset=offset)
        for logits, score in answers
    ]


def suppress(
    candidates: Sequence[Candidate], scores: npt.ArrayLike, iou_threshold: float, model: MaskModel
) -> list[Candidate]:
    """Return the candidates without those whose box another of a better score overlaps, best first.

    model: whose device computes it.
    """
    boxes = np.array([candidate.box for candidate in candidates], np.float32)
    return [candidates[index] for index in model.nms(boxes, np.asarray(scores, np.float64), iou_threshold)]


def frame_of(model: MaskModel, crop: Crop) -> Frame:
    """Return how the model's low-resolution logits lie on a crop."""
    return Frame(crop.embedding.input_hw, crop.embedding.original_hw, model.image_size)


def _above(iou_predictions: FloatArray, threshold: float) -> IntArray:
    """Return the rows (prompt, mask) of the multimask answers whose predicted IoU is above the threshold."""
    first = MULTIMASK[0] if iou_predictions.shape[1] > 1 else SINGLE_MASK[0]
    answers = iou_predictions[:, first:]
    wanted = answers > np.float32(threshold) if threshold > 0 else np.ones_like(answers, np.bool_)
    prompts, masks = np.nonzero(wanted)
    return np.stack([prompts, masks + first], axis=1)
