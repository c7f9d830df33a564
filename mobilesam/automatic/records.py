"""The old path of names in :mod:`mobilesam.masks.records`."""

from mobilesam._moved import moved

__getattr__ = moved(
    __name__,
    {
        "MaskRecord": "mobilesam.masks.records.MaskRecord",
        "MaskRecords": "mobilesam.masks.records.MaskRecords",
    },
)
