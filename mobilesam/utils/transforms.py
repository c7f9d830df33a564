"""Where scripts written for the reference look for ResizeLongestSide."""

from mobilesam.transform import ResizeLongestSide

__all__ = ["ResizeLongestSide"]
