"""The old path of names in :mod:`mobilesam.formats.masked_image`."""

from mobilesam._moved import moved

__getattr__ = moved(__name__, {"MaskedPicture": "mobilesam.formats.masked_image.MaskedImage"})
