"""The old path of names in :mod:`mobilesam.masks.records`."""

from mobilesam._moved import moved

_NAMES = ("MaskRecord", "MaskRecords")
__getattr__ = moved(__name__, {name: f"mobilesam.masks.records.{name}" for name in _NAMES})
