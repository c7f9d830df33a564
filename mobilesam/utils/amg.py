"""Names that scripts import from SAM's ``utils.amg``."""

from mobilesam.automatic.grids import build_all_layer_point_grids, build_point_grid, generate_crop_boxes
from mobilesam.masks.regions import remove_small_regions
from mobilesam.masks.rle import area_from_rle, coco_encode_rle, rle_to_mask

__all__ = [
    "area_from_rle",
    "build_all_layer_point_grids",
    "build_point_grid",
    "coco_encode_rle",
    "generate_crop_boxes",
    "remove_small_regions",
    "rle_to_mask",
]
