"""All candidates of one crop of a picture: encode it, ask at its points, keep what passes the filters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mobilesam import rle
from mobilesam.automatic.candidates import Box, Candidate, measure
from mobilesam.automatic.settings import Settings
from mobilesam.masks import Frame
from mobilesam.model import Embedding, MaskModel
from mobilesam.prompts import make_prompts

PointArray = npt.NDArray[np.float64]


class Crop(NamedTuple):
    """A part of a picture that was encoded by itself.

    box: x1 y1 x2 y2 in the picture. picture_hw: (height, width) of the picture.
    """

    embedding: Embedding
    box: Box
    picture_hw: tuple[int, int]

    @property
    def scale_xy(self) -> npt.NDArray[np.int64]:
        """Width and height of the crop."""
        return np.array([self.box[2] - self.box[0], self.box[3] - self.box[1]])


def ask_points(model: MaskModel, crop: Crop, points: PointArray, settings: Settings) -> list[list[Candidate]]:
    """Return the candidates that pass the filters, for each of a few points.

    Args:
        points: (B, 2), x y in pixels of the crop, as many as one call of the decoder takes.
    """
    embedding = crop.embedding
    prompts, _ = make_prompts(
        points[:, None], np.ones((len(points), 1)), original_hw=embedding.original_hw, input_hw=embedding.input_hw
    )
    scored = model.score_prompts(embedding, prompts)
    keep = _above(scored.iou_predictions, settings.pred_iou_thresh)
    found: list[list[Candidate]] = [[] for _ in points]
    if not len(keep):
        return found
    frame = Frame(embedding.input_hw, embedding.original_hw, model.image_size)
    x0, y0 = crop.box[:2]
    for (prompt, mask), logits in zip(keep, model.upscale(scored, keep), strict=True):
        measured = measure(
            logits,
            frame,
            (x0, y0),
            crop.picture_hw[0],
            threshold=model.mask_threshold,
            offset=settings.stability_score_offset,
            min_stability=settings.stability_score_thresh,
        )
        if measured is not None:
            x, y = points[prompt] + (x0, y0)
            found[prompt].append(
                Candidate(
                    measured.boundaries,
                    rle.box(measured.boundaries, crop.picture_hw[0]),
                    scored.iou_predictions[prompt, mask],
                    measured.stability,
                    (float(x), float(y)),
                    crop.box,
                )
            )
    return found


def ask_boxes(model: MaskModel, crop: Crop, boxes: PointArray, offset: float) -> list[Candidate]:
    """Return the single-mask answer to each of a few boxes, whatever its quality.

    Args:
        boxes: (B, 4), x1 y1 x2 y2 in pixels, as many as one call of the decoder takes.
        offset: of the stability score.
    """
    embedding = crop.embedding
    prompts, _ = make_prompts(box=boxes, original_hw=embedding.original_hw, input_hw=embedding.input_hw)
    decoded = model.decode(embedding, prompts, multimask_output=False)
    frame = Frame(embedding.input_hw, embedding.original_hw, model.image_size)
    found = []
    for logits, score in zip(decoded.low_res_logits[:, 0], decoded.iou_predictions[:, 0], strict=True):
        measured = measure(logits, frame, (0, 0), crop.picture_hw[0], threshold=model.mask_threshold, offset=offset)
        assert measured is not None, "without a threshold every mask is measured"
        box = rle.box(measured.boundaries, crop.picture_hw[0])
        found.append(Candidate(measured.boundaries, box, score, measured.stability, None, crop.box))
    return found


def _above(iou_predictions: npt.NDArray[np.float32], threshold: float) -> npt.NDArray[np.int64]:
    """Return the rows (prompt, mask) of the multimask answers whose predicted IoU is above the threshold."""
    first = 1 if iou_predictions.shape[1] > 1 else 0
    answers = iou_predictions[:, first:]
    wanted = answers > np.float32(threshold) if threshold > 0 else np.ones_like(answers, np.bool_)
    prompts, masks = np.nonzero(wanted)
    return np.stack([prompts, masks + first], axis=1)


def spread(count: int) -> npt.NDArray[np.int64]:
    """Return 0 .. count-1 in a fixed shuffled order, so that a run cut short has looked everywhere a little."""
    return np.random.default_rng(0).permutation(count)


def batches(order: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield ``order`` in parts of ``size``."""
    for start in range(0, len(order), size):
        yield order[start : start + size]
