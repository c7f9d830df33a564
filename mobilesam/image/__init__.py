"""Images: from any file or array to RGB, and from RGB to what the encoder takes."""

from mobilesam.image.read import decode_image, image_digest, normalize, pad, preprocess, read_image, resize

__all__ = ["decode_image", "image_digest", "normalize", "pad", "preprocess", "read_image", "resize"]
