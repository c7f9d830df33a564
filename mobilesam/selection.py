"""The old path of names in :mod:`mobilesam.masks.selection`."""

from mobilesam._moved import moved

__getattr__ = moved(__name__, {"choose": "mobilesam.masks.selection.choose"})
