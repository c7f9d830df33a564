"""Images: from any file or array to RGB, and from RGB to what the encoder takes."""

from mobilesam.image.read import read_image

__all__ = ["read_image"]
