"""Everything mode: all the masks of an image, without prompts from a person."""

from mobilesam.automatic.generator import SamAutomaticMaskGenerator
from mobilesam.masks.records import MaskRecord, MaskRecords

__all__ = ["MaskRecord", "MaskRecords", "SamAutomaticMaskGenerator"]
