"""Segment anything in an image, on a laptop: MobileSAM behind SAM's own API.

Public names are imported on first use, so that importing the package imports neither torch nor onnxruntime.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from mobilesam._version import __version__

if TYPE_CHECKING:
    from mobilesam.automatic import SamAutomaticMaskGenerator
    from mobilesam.batch import segment_many
    from mobilesam.errors import MobileSamError
    from mobilesam.finetune.run import finetune
    from mobilesam.loading import load
    from mobilesam.modeling.build import (
        build_sam,
        build_sam_vit_b,
        build_sam_vit_h,
        build_sam_vit_l,
        build_sam_vit_t,
        sam_model_registry,
    )
    from mobilesam.predictor import Prediction, SamPredictor
    from mobilesam.serve.client import Client

_HOME = {
    "Client": "serve.client",
    "MobileSamError": "errors",
    "Prediction": "predictor",
    "SamAutomaticMaskGenerator": "automatic",
    "SamPredictor": "predictor",
    "build_sam": "modeling.build",
    "build_sam_vit_b": "modeling.build",
    "build_sam_vit_h": "modeling.build",
    "build_sam_vit_l": "modeling.build",
    "build_sam_vit_t": "modeling.build",
    "finetune": "finetune.run",
    "load": "loading",
    "sam_model_registry": "modeling.build",
    "segment_many": "batch",
}

_MODULES = ("automatic_mask_generator", "modeling", "predictor", "utils")  # SAM's package has them without an import

_FUNCTIONS = ("build_sam", "finetune")  # which are modules, too

__all__ = [
    "Client",
    "MobileSamError",
    "Prediction",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "__version__",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "build_sam_vit_t",
    "finetune",
    "load",
    "sam_model_registry",
    "segment_many",
]


class _Package(types.ModuleType):
    """The type of this package, in which modules do not replace the functions of their names."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _FUNCTIONS or not isinstance(value, types.ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
