"""The names of SAM's ``utils.amg``: the parts of automatic mask generation, for programs that put them together.

The functions that take tensors need PyTorch. They take tensors of any device.
"""

from __future__ import annotations

import copy
from collections.abc import ItemsView, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilesam.automatic.grids import build_all_layer_point_grids, build_point_grid, generate_crop_boxes
from mobilesam.errors import InputError, sentence
from mobilesam.masks.boxes import EDGE_TOLERANCE, near_crop_edge
from mobilesam.masks.regions import remove_small_regions
from mobilesam.masks.rle import area_from_rle, boundaries_of, coco_encode_rle, rle_to_mask, to_uncompressed
from mobilesam.optional import import_torch

if TYPE_CHECKING:
    from torch import Tensor


class MaskData:
    """Lists, arrays and tensors of equal length, which hold the data of masks and are filtered and joined together.

    Args:
        kwargs: the values by name. None is allowed and stays None.

    Raises:
        InputError: a value is of another type.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._stats: dict[str, Any] = {}
        for name, value in kwargs.items():
            self[name] = value

    def __setitem__(self, key: str, item: Any) -> None:
        if not (item is None or isinstance(item, list | np.ndarray) or _is_tensor(item)):
            requirement = "be a list, an array or a tensor"
            raise InputError(sentence(key, requirement, type(item).__name__, "convert it"))
        self._stats[key] = item

    def __delitem__(self, key: str) -> None:
        del self._stats[key]

    def __getitem__(self, key: str) -> Any:
        return self._stats[key]

    def items(self) -> ItemsView[str, Any]:
        """Return the names and values."""
        return self._stats.items()

    def filter(self, keep: Any) -> None:
        """Keep a part of every value.

        Args:
            keep: a tensor, array or list: (N,) bool, which to keep, or (K,) integers, the indices to keep in order.
        """
        indices = np.asarray(keep.detach().cpu() if _is_tensor(keep) else keep)
        if indices.dtype == np.bool_:
            indices = np.flatnonzero(indices)
        indices = indices.astype(np.int64)
        for name, value in self._stats.items():
            if isinstance(value, list):
                self._stats[name] = [value[index] for index in indices]
            elif _is_tensor(value):
                self._stats[name] = value[import_torch("MaskData").from_numpy(indices).to(value.device)]
            elif value is not None:
                self._stats[name] = value[indices]

    def cat(self, new_stats: MaskData) -> None:
        """Append a copy of the values of other data."""
        for name, value in new_stats.items():
            own = self._stats.get(name)
            if own is None:
                self._stats[name] = copy.deepcopy(value)
            elif isinstance(value, list):
                self._stats[name] = own + copy.deepcopy(value)
            elif _is_tensor(value):
                self._stats[name] = import_torch("MaskData").cat([own, value])
            elif value is not None:
                self._stats[name] = np.concatenate([own, value])

    def to_numpy(self) -> None:
        """Replace tensors with arrays."""
        for name, value in self._stats.items():
            if _is_tensor(value):
                self._stats[name] = value.detach().cpu().numpy()


def batch_iterator(batch_size: int, *args: Any) -> Iterator[list[Any]]:
    """Yield batches of values of equal length, each a list of one slice of every value.

    Raises:
        InputError: the lengths differ, or there is no value.
    """
    lengths = [len(value) for value in args]
    if len(set(lengths)) != 1:
        actual = f"lengths {lengths}" if lengths else "none"
        raise InputError(sentence("args", "be one or more values of equal length", actual, "pass equal lengths"))
    return ([value[start : start + batch_size] for value in args] for start in range(0, lengths[0], batch_size))


def box_xyxy_to_xywh(box_xyxy: Any) -> Any:
    """Return a copy of one box x1 y1 x2 y2, a list, array or tensor, as x y width height."""
    box = copy.deepcopy(box_xyxy)
    box[2] = box[2] - box[0]
    box[3] = box[3] - box[1]
    return box


def batched_mask_to_box(masks: Tensor) -> Tensor:
    """Return the box x1 y1 x2 y2 of the outermost pixels, all inclusive, of each mask: (..., H, W) to (..., 4) int64.

    An empty mask has the box 0 0 0 0.
    """
    torch = import_torch("batched_mask_to_box")
    inside: Tensor = masks != 0
    if not inside.numel():
        return inside.new_zeros((*masks.shape[:-2], 4), dtype=torch.int64)
    sides = []
    for axis in (-2, -1):
        occupied = inside.any(axis)  # the columns, then the rows
        flags = occupied.to(torch.uint8)
        last = flags.shape[-1] - 1 - flags.flip(-1).argmax(-1)
        sides.append((flags.argmax(-1), torch.where(occupied.any(-1), last, 0)))
    (x1, x2), (y1, y2) = sides
    return torch.stack([x1, y1, x2, y2], dim=-1)  # type: ignore[no-any-return]


def calculate_stability_score(masks: Tensor, mask_threshold: float, threshold_offset: float) -> Tensor:
    """Return the IoU of the masks at a higher and a lower threshold, for logits (..., H, W): (...) float32."""
    inner = (masks > mask_threshold + threshold_offset).sum((-2, -1))
    outer = (masks > mask_threshold - threshold_offset).sum((-2, -1))
    score: Tensor = inner / outer
    return score


def is_box_near_crop_edge(
    boxes: Tensor, crop_box: Sequence[int], orig_box: Sequence[int], atol: float = EDGE_TOLERANCE
) -> Tensor:
    """Return which boxes are near an edge of their crop that is no edge of the image, (N,) bool.

    Args:
        boxes: (N, 4) x1 y1 x2 y2 in the crop.
        crop_box: x1 y1 x2 y2 of the crop in the image. orig_box: of the image itself.
        atol: the distance in pixels that is still near.
    """
    torch = import_torch("is_box_near_crop_edge")
    in_image = uncrop_boxes_xyxy(boxes, crop_box).float().cpu().numpy()
    near: Tensor = torch.from_numpy(near_crop_edge(in_image, crop_box, orig_box, atol)).to(boxes.device)
    return near


def mask_to_rle_pytorch(tensor: Tensor) -> list[dict[str, Any]]:
    """Return the uncompressed RLEs of masks, (B, H, W) bool."""
    masks = (tensor != 0).cpu().numpy()
    return [to_uncompressed(boundaries_of(mask), mask.shape) for mask in masks]


def uncrop_boxes_xyxy(boxes: Tensor, crop_box: Sequence[int]) -> Tensor:
    """Map boxes, (..., 4) x1 y1 x2 y2, from a crop to the image; ``crop_box`` is x1 y1 x2 y2 of the crop."""
    return _shifted(boxes, [*crop_box[:2], *crop_box[:2]])


def uncrop_points(points: Tensor, crop_box: Sequence[int]) -> Tensor:
    """Map points, (..., 2) x y, from a crop to the image; ``crop_box`` is x1 y1 x2 y2 of the crop."""
    return _shifted(points, crop_box[:2])


def uncrop_masks(masks: Tensor, crop_box: Sequence[int], orig_h: int, orig_w: int) -> Tensor:
    """Pad masks of a crop, (..., h, w), with zeros to the image, (..., orig_h, orig_w)."""
    torch = import_torch("uncrop_masks")
    x1, y1, x2, y2 = crop_box
    margins = (x1, orig_w - x2, y1, orig_h - y2)
    return torch.nn.functional.pad(masks, margins) if any(margins) else masks


def _shifted(coordinates: Tensor, offset: Sequence[int]) -> Tensor:
    shifted: Tensor = coordinates + import_torch("utils.amg").tensor(offset, device=coordinates.device)
    return shifted


def _is_tensor(value: object) -> bool:
    return hasattr(value, "detach")


__all__ = [
    "MaskData",
    "area_from_rle",
    "batch_iterator",
    "batched_mask_to_box",
    "box_xyxy_to_xywh",
    "build_all_layer_point_grids",
    "build_point_grid",
    "calculate_stability_score",
    "coco_encode_rle",
    "generate_crop_boxes",
    "is_box_near_crop_edge",
    "mask_to_rle_pytorch",
    "remove_small_regions",
    "rle_to_mask",
    "uncrop_boxes_xyxy",
    "uncrop_masks",
    "uncrop_points",
]
