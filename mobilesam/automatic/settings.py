"""The validated options of everything mode."""

from __future__ import annotations

import functools
import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from mobilesam.arrays import FloatArray64
from mobilesam.automatic.exploration import MOST_SHARE, SHARE
from mobilesam.automatic.grids import build_all_layer_point_grids
from mobilesam.errors import InputError, sentence, unknown_name

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")
MODES = tuple(SHARE)

MAX_POINTS_PER_SIDE = 256  # the mask logits have 256 x 256 pixels
MAX_POINTS = 10_000_000  # of all crops or tiles of an image: eight hours at 3 ms a point
_MAX_LAYERS = 8

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of :class:`mobilesam.SamAutomaticMaskGenerator`, which documents them.

    Raises:
        InputError: a value is wrong, or there are too few points in a layer or too many in all.
    """

    points_per_side: int | None
    points_per_batch: int
    pred_iou_thresh: float
    stability_score_thresh: float
    stability_score_offset: float
    box_nms_thresh: float
    crop_n_layers: int
    crop_nms_thresh: float
    crop_overlap_ratio: float
    crop_n_points_downscale_factor: int
    point_grids: Sequence[npt.ArrayLike] | None
    min_mask_region_area: float
    output_mode: str
    mode: str
    tile_size: int | None
    tile_overlap: float

    def __post_init__(self) -> None:
        for name in ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "crop_nms_thresh"):
            check_number(name, getattr(self, name), 0, 1)
        check_number("crop_overlap_ratio", self.crop_overlap_ratio, 0, 1)
        check_number("stability_score_offset", self.stability_score_offset, 0)
        check_number("min_mask_region_area", self.min_mask_region_area, 0)
        check_whole("points_per_batch", self.points_per_batch, 1)
        check_whole("crop_n_layers", self.crop_n_layers, 0, _MAX_LAYERS)
        check_whole("crop_n_points_downscale_factor", self.crop_n_points_downscale_factor, 1)
        if self.tile_size is not None:
            check_whole("tile_size", self.tile_size, 64)
            check_number("tile_overlap", self.tile_overlap, 0, 0.9)
            if self.crop_n_layers:
                remedy = "use either crops or tiles"
                raise InputError(sentence("crop_n_layers", "be 0 with tile_size", self.crop_n_layers, remedy))
        if self.output_mode not in OUTPUT_MODES:
            raise InputError(unknown_name("output_mode", self.output_mode, OUTPUT_MODES))
        if self.mode not in MODES:
            raise InputError(unknown_name("mode", self.mode, MODES))
        if (self.points_per_side is None) == (self.point_grids is None):
            actual = "neither" if self.point_grids is None else "both"
            remedy = "set points_per_side=None to use your own point_grids"
            raise InputError(sentence("points_per_side or point_grids", "be given", actual, remedy))
        check_total(sum(4**layer * len(grid) for layer, grid in enumerate(self.grids[: self.crop_n_layers + 1])))

    @property
    def adaptive(self) -> bool:
        """Whether the mode chooses points by the masks of earlier ones."""
        return self.mode != "exact"

    @property
    def filters(self) -> tuple[float, float, float]:
        """The thresholds that a mask passes: predicted IoU, stability score, and its offset."""
        return self.pred_iou_thresh, self.stability_score_thresh, self.stability_score_offset

    def points_to_decode(self, grid: FloatArray64, learned: bool) -> int:
        """Return how many of a grid's points the mode decodes; with the learned expectation, at most."""
        return math.ceil((MOST_SHARE if learned else SHARE)[self.mode] * len(grid))

    @functools.cached_property
    def grids(self) -> list[FloatArray64]:
        """The points of the whole image and of each layer of crops, (N, 2) x y in 0..1."""
        return self._own_grids() if self.points_per_side is None else self._regular_grids(self.points_per_side)

    def _regular_grids(self, points_per_side: int) -> list[FloatArray64]:
        check_whole("points_per_side", points_per_side, 1, MAX_POINTS_PER_SIDE)
        factor = self.crop_n_points_downscale_factor**self.crop_n_layers
        if points_per_side < factor:
            actual = f"{points_per_side}, which leaves no points for crop layer {self.crop_n_layers}"
            remedy = "lower crop_n_layers or crop_n_points_downscale_factor"
            raise InputError(sentence("points_per_side", f"be at least {factor}", actual, remedy))
        return build_all_layer_point_grids(points_per_side, self.crop_n_layers, self.crop_n_points_downscale_factor)

    def _own_grids(self) -> list[FloatArray64]:
        assert self.point_grids is not None
        layers = self.crop_n_layers + 1
        if len(self.point_grids) < layers:
            remedy = "add a grid, or lower crop_n_layers"
            raise InputError(sentence("point_grids", f"have {layers} grids", len(self.point_grids), remedy))
        grids = []
        for given in self.point_grids:
            try:
                grid = np.asarray(given, dtype=np.float64)
            except (TypeError, ValueError) as error:
                actual = f"{type(given).__name__} ({error})"
                raise InputError(sentence("each of point_grids", "be numbers", actual, "pass x y pairs")) from error
            if grid.ndim != 2 or grid.shape[1] != 2 or not len(grid):
                raise InputError(sentence("each of point_grids", "have shape (N, 2)", grid.shape, "pass x y pairs"))
            if len(grid) > MAX_POINTS_PER_SIDE**2:
                requirement = f"have at most {MAX_POINTS_PER_SIDE**2:,} points"
                raise InputError(sentence("each of point_grids", requirement, f"{len(grid):,}", "use fewer points"))
            if not ((grid >= 0) & (grid <= 1)).all():
                actual = f"{grid[~((grid >= 0) & (grid <= 1))][0]:g}"
                remedy = "divide x by the width and y by the height"
                raise InputError(sentence("each of point_grids", "lie within 0 to 1", actual, remedy))
            grids.append(grid)
        return grids


class HasSettings(Protocol):
    """An object whose options are :class:`Settings`."""

    settings: Settings


class Setting(Generic[Value]):
    """An attribute that reads one of the object's settings; assigning it replaces the settings, validated."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: HasSettings | None, owner: type) -> Value:
        return self if instance is None else getattr(instance.settings, self._name)  # type: ignore[return-value]

    def __set__(self, instance: HasSettings, value: Value) -> None:
        changes: dict[str, Any] = {self._name: value}
        instance.settings = replace(instance.settings, **changes)


def check_number(name: str, value: Any, low: float, high: float = math.inf) -> None:
    """Raise InputError unless ``value`` is a finite number from ``low`` to ``high``."""
    if isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value) and low <= value <= high:
        return
    requirement = f"be from {low:g} to {high:g}" if high < math.inf else f"be a number of at least {low:g}"
    raise InputError(sentence(name, requirement, repr(value), "leave it out for the default"))


def check_whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise InputError unless ``value`` is a whole number from ``low`` to ``high``, if that is given."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if whole and low <= value and (high is None or value <= high):
        return
    requirement = f"be a whole number of at least {low}" if high is None else f"be a whole number from {low} to {high}"
    raise InputError(sentence(name, requirement, reprlib.repr(value), "leave it out for the default"))


def check_total(points: int) -> None:
    """Raise InputError if all crops or tiles of an image have more than :data:`MAX_POINTS` points together."""
    if points > MAX_POINTS:
        requirement = f"be at most {MAX_POINTS:,} in all crops or tiles together"
        remedy = "use fewer points per side, fewer crop layers or larger tiles"
        raise InputError(sentence("the number of points", requirement, f"{points:,}", remedy))
