"""Images: reading files and arrays as RGB, and the input of the image encoder."""

from mobilesam.image.read import read_image

__all__ = ["read_image"]
