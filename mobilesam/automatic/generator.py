"""SamAutomaticMaskGenerator: SAM's class, over any model of this package."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mobilesam.arrays import BoolArray, FloatArray64, IntArray, UInt8Array
from mobilesam.automatic.control import Cancel, Control, Progress
from mobilesam.automatic.exploration import Everywhere, Exploration
from mobilesam.automatic.grids import generate_crop_boxes
from mobilesam.automatic.segment import Asker, Crop, ask_boxes, suppress
from mobilesam.automatic.settings import Settings, check_total
from mobilesam.automatic.tiling import stitch, tile_boxes
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
    """Finds all the masks of an image by asking at a grid of points.

    Arguments and results are those of SAM's class of the same name.

    Args:
        model: a network of :data:`mobilesam.sam_model_registry`, or any model of :func:`mobilesam.load`.
        points_per_side: points on a side of the grid, at most 256; None to use ``point_grids``.
        points_per_batch: at most so many points in one call of the decoder. The model's own best number, which is
            lower on a CPU, is what is used.
        pred_iou_thresh: keep masks whose IoU the model predicts to be above this.
        stability_score_thresh: keep masks at least so stable: the IoU of the masks thresholded at a logit of
            ``stability_score_offset`` above and below the cut-off.
        stability_score_offset: see above.
        box_nms_thresh: of two masks whose boxes overlap by more than this IoU, keep the better one.
        crop_n_layers: also look at crops of the image: 2^i × 2^i of them in layer i.
        crop_nms_thresh: like ``box_nms_thresh``, between crops; smaller crops win.
        crop_overlap_ratio: overlap of the crops of layer 1, as a share of the image's shorter side.
        crop_n_points_downscale_factor: the grid's side is divided by this with each layer.
        point_grids: instead of ``points_per_side``: for each layer points, (N, 2), x y in 0..1 of the crop.
        min_mask_region_area: fill holes and remove islands of fewer pixels.
        output_mode: "binary_mask", "uncompressed_rle" or "coco_rle", which alone is small for large images.
        mode: "exact" asks at every point; "balanced" and "fast" ask at 3/8 and 11/64 of the points, always where least
            is known, and find most of the same masks.
        tile_size: look at an image that is larger than this also in tiles of this many pixels a side, for objects that
            are small in a large image; instead of ``crop_n_layers``. Objects that a tile's border cuts are joined.
        tile_overlap: overlap of neighboring tiles, at least this share of their side.

    Raises:
        InputError: an argument is not usable.
    """

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
        self.settings = Settings(
            points_per_side=points_per_side,
            points_per_batch=points_per_batch,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
            crop_n_layers=crop_n_layers,
            crop_nms_thresh=crop_nms_thresh,
            crop_overlap_ratio=crop_overlap_ratio,
            crop_n_points_downscale_factor=crop_n_points_downscale_factor,
            point_grids=point_grids,
            min_mask_region_area=min_mask_region_area,
            output_mode=output_mode,
            mode=mode,
            tile_size=tile_size,
            tile_overlap=tile_overlap,
        )
        self.point_grids = self.settings.layer_points()
        self.predictor = SamPredictor(model)
        if self.mask_model.capabilities.masks_per_prompt == 1:
            warnings.warn(
                "this model gives one mask a point, not three, so fewer are found; export a decoder that gives all "
                "with mobilesam export",
                SingleMaskWarning,
                stacklevel=2,
            )

    @property
    def mask_model(self) -> MaskModel:
        """The model behind the one protocol."""
        return self.predictor.mask_model

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
            progress: called as ``progress(done, total, found)``: points, points in all, and masks so far.
            cancel: a threading.Event, or a function that tells whether to stop.
            time_budget_s: stop after so many seconds from the call on, between two steps of the work: encoding a crop,
                planning its points, asking at some of them. A stopped run returns what it has, with ``partial`` set.

        Raises:
            InputError: the image cannot be used, or has too many tiles or points for it.
        """
        control = Control(progress, cancel, time_budget_s)
        pixels = read_image(image)
        hw = (pixels.shape[0], pixels.shape[1])
        settings = self.settings
        crops = self._crops(hw)
        control.total = sum(settings.points_asked(grid) for _, grid in crops)
        candidates: list[Candidate] = []
        for box, grid in crops:
            if control.must_stop():
                break
            candidates += self._segment(self._encode(pixels, box), grid, control)
        if settings.tile_size is not None:
            candidates = stitch(candidates, hw, settings.crop_nms_thresh)
        elif len(crops) > 1:
            areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (item.crop_box for item in candidates)]
            candidates = suppress(candidates, 1 / np.array(areas), settings.crop_nms_thresh, self.mask_model)
        if settings.min_mask_region_area > 0:
            cleaned, untouched = self._clean(candidates, hw)
            threshold = max(settings.box_nms_thresh, settings.crop_nms_thresh)
            candidates = suppress(
                cleaned, untouched, threshold, self.mask_model
            )  # a mask that needed no change is preferred
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
        """Return a record for each box of a detector, in their order and whatever its quality.

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
                candidates += ask_boxes(self.mask_model, crop, part, offset)
                control.advance(len(part), len(part))
        if self.settings.min_mask_region_area > 0:
            candidates, _ = self._clean(candidates, hw)
        records = MaskRecords(partial=control.stopped)
        for item, box in zip(candidates, corners.tolist(), strict=False):  # fewer if the run was stopped
            records.append({**make_record(item, hw, self.settings.output_mode), "prompt_box": box})
        return records

    def _crops(self, hw: tuple[int, int]) -> list[tuple[Box, FloatArray64]]:
        """Return the parts of an image to look at, each with its points."""
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

    def _segment(self, crop: Crop, grid: FloatArray64, control: Control) -> list[Candidate]:
        """Ask at the points of a crop, and remove duplicates; points stopped short of are left out."""
        if control.must_stop():  # the time may be up since the crop was encoded
            return []
        x1, y1, x2, y2 = crop.box
        points = grid * np.array([x2 - x1, y2 - y1])
        asker = Asker(self.mask_model, crop, points, self.settings)
        explored = Everywhere(len(points)) if self.settings.mode == "exact" else asker.exploration()
        found: dict[int, list[Candidate]] = {}
        distinct: list[Box] = []
        looking_around, size = isinstance(explored, Exploration), self._batch_size()
        # Between two rounds a run can be stopped, and learns where to ask next.
        calls = self.mask_model.capabilities.workers * (1 if looking_around else _CALLS_IN_A_ROUND)

        def ask(worker: MaskModel, part: IntArray) -> tuple[list[list[Candidate]], list[BoolArray]]:
            return asker.ask(worker, part, looking_around=looking_around)

        while not control.must_stop() and len(indices := explored.take(calls * size)):
            parts = [indices[start : start + size] for start in range(0, len(indices), size)]
            for part, (answers, inside) in zip(parts, self.mask_model.in_workers(ask, parts), strict=True):
                found.update(zip(part.tolist(), answers, strict=True))
                if isinstance(explored, Exploration):
                    for index, known in zip(part.tolist(), inside, strict=True):
                        explored.learn(index, known)
                boxes = [item.box for many in answers for item in many]
                control.advance(len(part), self._add_distinct(distinct, boxes))
        # Between equal scores the order of the grid decides, as in the reference.
        candidates = [item for index in sorted(found) for item in found[index]]
        if self.settings.tile_size is None:
            cut = near_crop_edge(np.array([item.box for item in candidates]), crop.box, crop.image_hw)
            candidates = [item for item, is_cut in zip(candidates, cut, strict=True) if not is_cut]
        scores = [item.predicted_iou for item in candidates]
        return suppress(candidates, scores, self.settings.box_nms_thresh, self.mask_model)

    def _add_distinct(self, distinct: list[Box], boxes: Sequence[Box]) -> int:
        """Add those boxes that are none of the distinct ones again, and return how many: a count for the progress."""
        before = len(distinct)
        for box in boxes:
            known = np.array(distinct, np.float32).reshape(-1, 4)
            if not (box_iou(np.array(box, np.float32), known) > self.settings.box_nms_thresh).any():
                distinct.append(box)
        return len(distinct) - before

    def _clean(self, candidates: Sequence[Candidate], hw: tuple[int, int]) -> tuple[list[Candidate], list[bool]]:
        """Fill small holes and remove small islands; return the masks, and which of them needed no change."""
        cleaned, untouched = [], []
        for item in candidates:
            boundaries, changed = regions.clean(item.boundaries, hw, self.settings.min_mask_region_area)
            cleaned.append(item._replace(boundaries=boundaries, box=rle.box(boundaries, hw[0])))
            untouched.append(not changed)
        return cleaned, untouched
