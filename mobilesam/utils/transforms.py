"""Where scripts written for the reference look for ResizeLongestSide."""

from mobilesam.image.transform import ResizeLongestSide

__all__ = ["ResizeLongestSide"]
