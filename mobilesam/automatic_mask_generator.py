"""SAM's ``automatic_mask_generator``: the class of :mod:`mobilesam.automatic`, and the functions that it is made of."""

from mobilesam.automatic import SamAutomaticMaskGenerator
from mobilesam.predictor import SamPredictor

__all__ = ["SamAutomaticMaskGenerator", "SamPredictor"]
