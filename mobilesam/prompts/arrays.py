"""Validation of prompts, and their conversion to the arrays that a model takes.

A prompt is a list of labeled points, as in SAM's ONNX decoder: label 1 is foreground, 0 background, -1 padding that is
ignored, 2 and 3 are the upper left and lower right corner of a box. A prompt of points without a box ends with one
padding point. A prompt of a mask input alone has no points. The ONNX graphs of this package leave out points of the
label -2, so that prompts of a fixed length can have fewer points.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mobilesam.arrays import FloatArray, FloatArray64, IntArray
from mobilesam.errors import InputError, OutOfImageWarning, sentence
from mobilesam.geometry import boxes_to_model, points_to_model

BACKGROUND, FOREGROUND, PADDING, BOX_START, BOX_END, ABSENT = 0, 1, -1, 2, 3, -2
MASK_SIDE = 256


@dataclass(frozen=True, eq=False)
class Prompts:
    """B prompts of N points each, in the model frame.

    point_coords: (B, N, 2) float32, x y in pixels of the model frame (longer side 1024).
    point_labels: (B, N) float32: 1, 0, -1, 2 or 3, as described above.
    mask_input: (B, 1, 256, 256) float32 logits of an earlier prediction, or None.
    """

    point_coords: FloatArray
    point_labels: FloatArray
    mask_input: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.point_coords)

    @property
    def single_point(self) -> bool:
        """Whether each prompt is a single foreground point, which may mean a part or the whole, without a mask."""
        labels = self.point_labels
        first = labels.shape[1] > 0 and bool((labels[:, 0] == FOREGROUND).all())
        return first and bool(np.isin(labels[:, 1:], (PADDING, ABSENT)).all()) and self.mask_input is None

    @property
    def single_box(self) -> bool:
        """Whether each prompt is a box alone, without points and a mask."""
        labels = self.point_labels
        corners = labels.shape[1] > 1 and bool((labels[:, :2] == (BOX_START, BOX_END)).all())
        return corners and bool(np.isin(labels[:, 2:], (PADDING, ABSENT)).all()) and self.mask_input is None

    def __getitem__(self, part: slice | IntArray) -> Prompts:
        mask_input = None if self.mask_input is None else self.mask_input[part]
        return Prompts(self.point_coords[part], self.point_labels[part], mask_input)


def make_prompts(
    point_coords: Any = None,
    point_labels: Any = None,
    box: Any = None,
    mask_input: Any = None,
    *,
    original_hw: tuple[int, int],
    input_hw: tuple[int, int],
) -> tuple[Prompts, bool]:
    """Validate the arguments of ``predict`` and map them to the model frame.

    Anything that NumPy converts to an array is accepted. Coordinates are not clipped to the image, as in the reference;
    points and boxes entirely outside the image cause one OutOfImageWarning.

    Args:
        point_coords: (N, 2), x y in pixels of the original image; (B, N, 2) for B independent prompts.
        point_labels: (N,) or (B, N): 1 foreground, 0 background, -1 padding that is ignored.
        box: (4,) or (1, 4), x1 y1 x2 y2 in pixels of the original image; (B, 4) for B independent prompts.
        mask_input: (1, 256, 256) logits of an earlier prediction; (B, 1, 256, 256) or (B, 256, 256) for B prompts.
        original_hw: (height, width) of the original image.
        input_hw: (height, width) of the image in the model frame, before padding.

    Returns:
        The prompts, and whether they were given as a batch, so that results keep their B axis.

    Raises:
        InputError: an argument has a wrong shape, type or value, the number of prompts differs between arguments, or
            there is no prompt.
    """
    points = _labeled_points(point_coords, point_labels)
    boxes = _boxes(box)
    masks = None if mask_input is None else _numbers(mask_input, "mask_input")
    if points is None and boxes is None and masks is None:
        raise InputError(
            sentence("a prompt", "have at least one of point_coords, box and mask_input", "none", "pass one of them")
        )
    count, batched = _batch(points, boxes, masks)
    coords, labels = [np.zeros((count, 0, 2), dtype=np.float32)], [np.zeros((count, 0), dtype=np.float32)]
    if points is not None:
        coords.append(points_to_model(points.coords, original_hw, input_hw).reshape(count, -1, 2))
        labels.append(points.labels.reshape(count, -1).astype(np.float32))
        if boxes is None:
            coords.append(np.zeros((count, 1, 2), dtype=np.float32))
            labels.append(np.full((count, 1), PADDING, dtype=np.float32))
    if boxes is not None:
        coords.append(boxes_to_model(boxes, original_hw, input_hw).reshape(count, 2, 2))
        labels.append(np.tile(np.array([BOX_START, BOX_END], dtype=np.float32), (count, 1)))
    logits = None if masks is None else _mask_batch(masks, count, batched)
    _warn_outside(points, boxes, original_hw)
    return Prompts(np.concatenate(coords, axis=1), np.concatenate(labels, axis=1), logits), batched


class _Points(NamedTuple):
    """coords: (N, 2) or (B, N, 2) in the original image; labels: (N,) or (B, N)."""

    coords: FloatArray64
    labels: FloatArray64


def _labeled_points(point_coords: Any, point_labels: Any) -> _Points | None:
    if point_coords is None and point_labels is None:
        return None
    if point_coords is None:
        raise InputError(sentence("point_labels", "come with point_coords", "no points", "pass both, or neither"))
    if point_labels is None:
        remedy = "pass 1 for each foreground point and 0 for each background point"
        raise InputError(sentence("point_coords", "come with point_labels", "no labels", remedy))
    coords, labels = _numbers(point_coords, "point_coords"), _numbers(point_labels, "point_labels")
    if coords.ndim not in (2, 3) or coords.shape[-1] != 2:
        remedy = "pass [[x, y]] for one point" if coords.shape == (2,) else "pass one x, y pair for each point"
        raise InputError(sentence("point_coords", "have shape (N, 2) or (B, N, 2)", coords.shape, remedy))
    if labels.shape != coords.shape[:-1]:
        requirement = f"have shape {coords.shape[:-1]}, one label for each point"
        raise InputError(sentence("point_labels", requirement, labels.shape, "pass one label for each point"))
    known = np.isin(labels, (FOREGROUND, BACKGROUND, PADDING))
    if not known.all():
        remedy = "use 1 for foreground, 0 for background, -1 for padding; corners of a box go in box"
        raise InputError(sentence("point_labels", "be 1, 0 or -1", f"{labels[~known][0]:g}", remedy))
    return _Points(coords, labels)


def _boxes(box: Any) -> FloatArray64 | None:
    if box is None:
        return None
    boxes = _numbers(box, "box")
    if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4:
        raise InputError(sentence("box", "have shape (4,) or (B, 4)", boxes.shape, "pass [x1, y1, x2, y2]"))
    boxes = boxes.reshape(-1, 4)
    faulty = np.flatnonzero((boxes[:, :2] >= boxes[:, 2:]).any(axis=1))
    if len(faulty):
        start, end = boxes[faulty[0]].reshape(2, 2)
        remedy = f"its corners are reversed: pass {_listed([*np.minimum(start, end), *np.maximum(start, end)])}"
        if (start == end).any():
            remedy = "it has no area: enlarge it, or use point_coords for a point"
        name = "box" if len(boxes) == 1 else f"box {faulty[0]}"
        raise InputError(sentence(name, "have x1 < x2 and y1 < y2", _listed(boxes[faulty[0]]), remedy))
    return boxes


def _batch(points: _Points | None, boxes: FloatArray64 | None, masks: FloatArray64 | None) -> tuple[int, bool]:
    """Return how many prompts there are, and whether they are given as a batch."""
    if points is not None:
        count, batched = (len(points.coords), True) if points.coords.ndim == 3 else (1, False)
        if boxes is not None and len(boxes) != count:
            remedy = "pass one box for each prompt" if batched else f"pass the points as ({len(boxes)}, N, 2)"
            requirement = f"have one row for each of the {count} prompts of point_coords"
            if not batched:
                requirement = "be one box with point_coords of shape (N, 2)"
            raise InputError(sentence("box", requirement, f"shape {boxes.shape}", remedy))
        return count, batched
    if boxes is not None:
        return len(boxes), len(boxes) > 1
    assert masks is not None, "make_prompts refuses a prompt without arguments"
    count = len(masks) if masks.ndim > 2 else 1
    return count, masks.ndim == 4 or count > 1


def _mask_batch(masks: FloatArray64, count: int, batched: bool) -> FloatArray:
    side = (MASK_SIDE, MASK_SIDE)
    allowed = {(count, 1, *side), (count, *side)} if batched else {(1, *side)}
    if masks.shape not in allowed:
        shapes = " or ".join(str(shape) for shape in sorted(allowed, key=len, reverse=True))
        remedy = "pass the low_res_logits that predict returned, one mask for each prompt"
        if masks.shape == side:
            remedy = "pass mask_input[None]"
        elif not batched and masks.shape[1:] == side:
            remedy = "pass one of the masks: mask_input[best][None]"
        raise InputError(sentence("mask_input", f"have shape {shapes}", masks.shape, remedy))
    return masks.reshape(count, 1, *side).astype(np.float32)


def _numbers(value: Any, name: str) -> FloatArray64:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            sentence(name, "be an array of numbers", f"{type(value).__name__} ({error})", "convert it")
        ) from error
    if array.dtype.kind not in "buif":
        actual = f"{type(value).__name__} of dtype {array.dtype}"
        raise InputError(sentence(name, "be an array of numbers", actual, "pass lists or arrays of int or float"))
    if array.size == 0:
        raise InputError(sentence(name, "not be empty", f"shape {array.shape}", "pass None instead"))
    numbers = array.astype(np.float64)
    with np.errstate(over="ignore"):
        finite = np.isfinite(numbers.astype(np.float32))
    if not finite.all():
        actual = f"{numbers[~finite].flat[0]} among {numbers.size} values"
        raise InputError(sentence(name, "be finite", actual, "remove it, or give a padding point the label -1"))
    return numbers


def _warn_outside(points: _Points | None, boxes: FloatArray64 | None, original_hw: tuple[int, int]) -> None:
    height, width = original_hw
    outside: list[str] = []
    if points is not None:
        places = points.coords[points.labels != PADDING]
        beyond = ((places < 0) | (places >= (width, height))).any(axis=-1)
        outside += [f"point {_listed(place)}" for place in places[beyond]]
    if boxes is not None:
        beyond = (boxes[:, 2:] <= 0).any(axis=-1) | (boxes[:, :2] >= (width, height)).any(axis=-1)
        outside += [f"box {_listed(corners)}" for corners in boxes[beyond]]
    if outside:
        more = f" (and so do {len(outside) - 1} more)" if len(outside) > 1 else ""
        message = f"{outside[0]} lies outside the image, {width} wide and {height} high{more}; x comes before y"
        # Shown at the line that calls predict or predict_one, which share the method that calls make_prompts.
        warnings.warn(message, OutOfImageWarning, stacklevel=5)


def _listed(numbers: Sequence[float] | FloatArray64) -> str:
    return "[" + ", ".join(f"{number:g}" for number in numbers) + "]"
