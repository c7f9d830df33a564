"""Everything mode: all masks of an image, from a grid of point prompts."""

from mobilesam.automatic.generator import SamAutomaticMaskGenerator
from mobilesam.masks.records import MaskRecord, MaskRecords

__all__ = ["MaskRecord", "MaskRecords", "SamAutomaticMaskGenerator"]
