"""Segment anything in an image, on a laptop: MobileSAM behind SAM's own API.

Public names are imported on first use, so that importing the package imports neither torch nor onnxruntime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mobilesam._version import __version__

if TYPE_CHECKING:
    from mobilesam.automatic import SamAutomaticMaskGenerator
    from mobilesam.errors import MobileSamError
    from mobilesam.loading import load
    from mobilesam.modeling.build import build_sam, build_sam_vit_t, sam_model_registry
    from mobilesam.predictor import Prediction, SamPredictor

_HOME = {
    "MobileSamError": "errors",
    "Prediction": "predictor",
    "SamAutomaticMaskGenerator": "automatic",
    "SamPredictor": "predictor",
    "build_sam": "modeling.build",
    "build_sam_vit_t": "modeling.build",
    "load": "loading",
    "sam_model_registry": "modeling.build",
}

__all__ = [
    "MobileSamError",
    "Prediction",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "__version__",
    "build_sam",
    "build_sam_vit_t",
    "load",
    "sam_model_registry",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
