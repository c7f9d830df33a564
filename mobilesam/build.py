"""The old path of names in :mod:`mobilesam.modeling.build`."""

from mobilesam._moved import moved

_NAMES = ("build_sam", "build_sam_vit_t", "sam_model_registry")
__getattr__ = moved(__name__, {name: f"mobilesam.modeling.build.{name}" for name in _NAMES})
