"""SamAutomaticMaskGenerator: SAM's class of this name, for any model of this package."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mobilesam.arrays import FloatArray64, UInt8Array
from mobilesam.automatic import expected_masks, segment
from mobilesam.automatic.control import Cancel, Control, Progress
from mobilesam.automatic.grids import generate_crop_boxes
from mobilesam.automatic.segment import Crop, PointDecoder, decode_boxes, suppress
from mobilesam.automatic.settings import Setting, Settings, check_total
from mobilesam.automatic.tiling import box_area, stitch, tile_boxes
from mobilesam.config import STABILITY_OFFSET
from mobilesam.errors import InputError, SingleMaskWarning, sentence
from mobilesam.image.read import read_image
from mobilesam.masks import regions, rle
from mobilesam.masks.boxes import box_iou, near_crop_edge
from mobilesam.masks.candidate import Box, Candidate
from mobilesam.masks.records import MaskRecords, make_record
from mobilesam.model import MaskModel
from mobilesam.predictor import SamPredictor

_CALLS_IN_A_ROUND = 8


class SamAutomaticMaskGenerator:
    """Finds the masks of an image by prompting the model with a grid of points.

    The arguments up to ``output_mode`` and the results are those of SAM's class of the same name. Each argument is also
    an attribute that can be read and assigned.

    Args:
        model: a network of :data:`mobilesam.sam_model_registry`, or any model of :func:`mobilesam.load`.
        points_per_side: points on a side of the grid, at most 256; None to use ``point_grids``.
        points_per_batch: the most points in one call of the decoder. A model that works best with fewer, as on a CPU,
            gets fewer.
        pred_iou_thresh: keep masks of a predicted IoU above this.
        stability_score_thresh: keep masks of at least this stability score: the IoU of the masks at the logit
            thresholds ``stability_score_offset`` above and below the usual one.
        stability_score_offset: see ``stability_score_thresh``.
        box_nms_thresh: of two masks whose boxes have an IoU above this, keep the better one.
        crop_n_layers: segment crops of the image too: 2^i × 2^i of them in layer i.
        crop_nms_thresh: like ``box_nms_thresh``, between crops; the mask of the smaller crop is kept.
        crop_overlap_ratio: overlap of the crops of layer 1, as a share of the image's shorter side.
        crop_n_points_downscale_factor: the points per side are divided by this in each further layer.
        point_grids: instead of ``points_per_side``: the points of each layer, (N, 2), x y in 0..1 of the crop.
        min_mask_region_area: fill holes and remove islands of fewer pixels than this.
        output_mode: "binary_mask", "uncompressed_rle" or "coco_rle". Of large images only the RLEs are small.
        mode: "exact" decodes every point; "balanced" and "fast" decode few of them, chosen by the image and by the
            masks of earlier points, and find most of the same masks.
        tile_size: segment an image that is larger than this in tiles of this many pixels a side too, for objects that
            are small in a large image; instead of ``crop_n_layers``. Masks that tile borders cut are joined.
        tile_overlap: overlap of neighboring tiles, at least this share of their side.

    Raises:
        InputError: an argument has a wrong value.
    """

    points_per_batch = Setting[int]()
    pred_iou_thresh = Setting[float]()
    stability_score_thresh = Setting[float]()
    stability_score_offset = Setting[float]()
    box_nms_thresh = Setting[float]()
    crop_n_layers = Setting[int]()
    crop_nms_thresh = Setting[float]()
    crop_overlap_ratio = Setting[float]()
    crop_n_points_downscale_factor = Setting[int]()
    min_mask_region_area = Setting[float]()
    output_mode = Setting[str]()
    mode = Setting[str]()
    tile_size = Setting[int | None]()
    tile_overlap = Setting[float]()

    postprocess_small_regions = staticmethod(segment.postprocess_small_regions)

    def __init__(
        self,
        model: Any,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = STABILITY_OFFSET,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[npt.ArrayLike] | None = None,
        min_mask_region_area: float = 0,
        output_mode: str = "binary_mask",
        *,
        mode: str = "exact",
        tile_size: int | None = None,
        tile_overlap: float = 0.25,
    ) -> None:
        arguments = locals()
        self.settings = Settings(**{field.name: arguments[field.name] for field in fields(Settings)})
        self.predictor = SamPredictor(model)
        if self.mask_model.capabilities.masks_per_prompt == 1:
            warnings.warn(
                "The model predicts one mask for each point instead of three, so fewer masks are found. "
                "mobilesam export writes a decoder with all masks.",
                SingleMaskWarning,
                stacklevel=2,
            )

    @property
    def mask_model(self) -> MaskModel:
        """The model as a :class:`mobilesam.model.MaskModel`."""
        return self.predictor.mask_model

    @property
    def points_per_side(self) -> int | None:
        """Points on a side of the grid, or None with ``point_grids`` of your own."""
        return self.settings.points_per_side

    @points_per_side.setter
    def points_per_side(self, value: int) -> None:
        self.settings = replace(self.settings, points_per_side=value, point_grids=None)

    @property
    def point_grids(self) -> list[FloatArray64]:
        """The points of the whole image and of each layer of crops, (N, 2) x y in 0..1 of the crop."""
        return self.settings.grids

    @point_grids.setter
    def point_grids(self, value: Sequence[npt.ArrayLike]) -> None:
        self.settings = replace(self.settings, points_per_side=None, point_grids=value)

    def generate(
        self,
        image: Any,
        *,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
        time_budget_s: float | None = None,
    ) -> MaskRecords:
        """Return a record for each mask, best first; see :class:`MaskRecord` for the keys.

        Args:
            image: (H, W, 3) uint8 RGB, or anything that :func:`mobilesam.image.read.read_image` takes.
            progress: called as ``progress(done, total, masks)``: points decoded, points in all, and masks so far.
            cancel: a threading.Event, or a function that returns whether to stop.
            time_budget_s: seconds after which the run stops, at the next of its steps: a crop is encoded, its points
                are ordered, some points are decoded. A stopped run returns the masks so far, with ``partial`` set.

        Raises:
            InputError: the image cannot be used, or would have too many tiles or points.
        """
        control = Control(progress, cancel, time_budget_s)
        pixels = read_image(image)
        hw = (pixels.shape[0], pixels.shape[1])
        settings = self.settings
        crops = self._crops(hw)
        learned = settings.adaptive and settings.filters == expected_masks.FILTERS
        learned = learned and expected_masks.FILE.knows(self.mask_model.source_weights_id)
        control.total = sum(settings.points_to_decode(grid, learned) for _, grid in crops)
        candidates: list[Candidate] = []
        for box, grid in crops:
            if control.must_stop():
                break
            candidates += self._segment(self._encode(pixels, box), grid, control, learned)
        if settings.tile_size is not None:
            candidates = stitch(candidates, hw, settings.crop_nms_thresh)
        elif len(crops) > 1:
            areas = np.array([box_area(item.crop_box) for item in candidates])
            candidates = suppress(candidates, 1 / areas, settings.crop_nms_thresh, self.mask_model)
        if settings.min_mask_region_area > 0:
            cleaned, unchanged = self._clean(candidates, hw)
            threshold = max(settings.box_nms_thresh, settings.crop_nms_thresh)
            candidates = suppress(cleaned, unchanged, threshold, self.mask_model)
        records = (make_record(item, hw, settings.output_mode) for item in candidates)
        return MaskRecords(records, partial=control.stopped)

    def generate_from_boxes(
        self,
        image: Any,
        boxes: npt.ArrayLike,
        *,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
        time_budget_s: float | None = None,
    ) -> MaskRecords:
        """Return a record for each box, such as those of a detector, in the order of the boxes and unfiltered.

        Args:
            boxes: (N, 4), x1 y1 x2 y2 in pixels of the image; N may be 0.

        The other arguments are those of :meth:`generate`.

        Raises:
            InputError: the image or a box cannot be used.
        """
        control = Control(progress, cancel, time_budget_s)
        corners = np.asarray(boxes, dtype=np.float64) if np.size(boxes) else np.zeros((0, 4))
        if corners.ndim != 2 or corners.shape[1] != 4:
            remedy = "pass one x1 y1 x2 y2 for each object"
            raise InputError(sentence("boxes", "have shape (N, 4)", corners.shape, remedy))
        control.total = len(corners)
        candidates: list[Candidate] = []
        pixels = read_image(image)
        hw = (pixels.shape[0], pixels.shape[1])
        if len(corners) and not control.must_stop():
            crop = self._encode(pixels, (0, 0, hw[1], hw[0]))
            size = self._batch_size() * self.mask_model.capabilities.workers * _CALLS_IN_A_ROUND
            offset = self.settings.stability_score_offset
            while len(candidates) < len(corners) and not control.must_stop():
                part = corners[len(candidates) : len(candidates) + size]
                candidates += decode_boxes(self.mask_model, crop, part, offset)
                control.advance(len(part), len(part))
        if self.settings.min_mask_region_area > 0:
            candidates, _ = self._clean(candidates, hw)
        records = MaskRecords(partial=control.stopped)
        for item, box in zip(candidates, corners.tolist(), strict=False):  # fewer if the run was stopped
            records.append({**make_record(item, hw, self.settings.output_mode), "prompt_box": box})
        return records

    def _crops(self, hw: tuple[int, int]) -> list[tuple[Box, FloatArray64]]:
        """Return the boxes of the crops or tiles of an image, each with its grid of points."""
        settings = self.settings
        whole: Box = (0, 0, hw[1], hw[0])
        if settings.tile_size is not None:
            tiles = dict.fromkeys([whole, *tile_boxes(hw, settings.tile_size, settings.tile_overlap)])
            check_total(len(tiles) * len(self.point_grids[0]))
            return [(box, self.point_grids[0]) for box in tiles]
        boxes, layers = generate_crop_boxes(hw, settings.crop_n_layers, settings.crop_overlap_ratio)
        return [
            ((x1, y1, x2, y2), self.point_grids[layer]) for (x1, y1, x2, y2), layer in zip(boxes, layers, strict=True)
        ]

    def _encode(self, pixels: UInt8Array, box: Box) -> Crop:
        x1, y1, x2, y2 = box
        return Crop(self.mask_model.encode(pixels[y1:y2, x1:x2]), box, (pixels.shape[0], pixels.shape[1]))

    def _batch_size(self) -> int:
        return min(self.settings.points_per_batch, self.mask_model.capabilities.prompt_batch)

    def _segment(self, crop: Crop, grid: FloatArray64, control: Control, learned: bool) -> list[Candidate]:
        """Decode the points of a crop, as many as ``control`` allows, and remove duplicates."""
        if control.must_stop():  # the time may be up since the crop was encoded
            return []
        decoder = PointDecoder(self.mask_model, crop, grid, self.settings)
        exploration = decoder.exploration(learned)
        by_point: dict[int, list[Candidate]] = {}
        distinct: list[Box] = []
        size = self._batch_size()
        # Between two rounds a run can be stopped, and learns which points to decode next.
        calls = self.mask_model.capabilities.workers * (1 if self.settings.adaptive else _CALLS_IN_A_ROUND)
        while not control.must_stop() and len(indices := exploration.take(calls * size)):
            parts = [indices[start : start + size] for start in range(0, len(indices), size)]
            decoded = self.mask_model.in_workers(decoder.decode, parts)
            for part, (candidates, inside) in zip(parts, decoded, strict=True):
                by_point.update(zip(part.tolist(), candidates, strict=True))
                for index, known in zip(part.tolist(), inside, strict=self.settings.adaptive):
                    exploration.learn(index, known)
                boxes = [item.box for items in candidates for item in items]
                control.advance(len(part), self._add_distinct(distinct, boxes))
        if exploration.left and not control.stopped:  # no new masks are expected
            control.advance(0, 0, skipped=exploration.left)
        # Among equal scores the order of the grid decides, as in the reference.
        kept = [item for index in sorted(by_point) for item in by_point[index]]
        if self.settings.tile_size is None:
            height, width = crop.image_hw
            cut = near_crop_edge(np.array([item.box for item in kept]), crop.box, (0, 0, width, height))
            kept = [item for item, is_cut in zip(kept, cut, strict=True) if not is_cut]
        scores = [item.predicted_iou for item in kept]
        return suppress(kept, scores, self.settings.box_nms_thresh, self.mask_model)

    def _add_distinct(self, distinct: list[Box], boxes: Sequence[Box]) -> int:
        """Add the boxes that duplicate none of the distinct ones, and return how many: a count for the progress."""
        before = len(distinct)
        for box in boxes:
            known = np.array(distinct, np.float32).reshape(-1, 4)
            if not (box_iou(np.array(box, np.float32), known) > self.settings.box_nms_thresh).any():
                distinct.append(box)
        return len(distinct) - before

    def _clean(self, candidates: Sequence[Candidate], hw: tuple[int, int]) -> tuple[list[Candidate], list[bool]]:
        """Fill small holes and remove small islands; return the masks, and which of them are unchanged."""
        cleaned, unchanged = [], []
        for item in candidates:
            boundaries, changed = regions.clean(item.boundaries, hw, self.settings.min_mask_region_area)
            cleaned.append(item._replace(boundaries=boundaries, box=rle.box(boundaries, hw[0])))
            unchanged.append(not changed)
        return cleaned, unchanged
