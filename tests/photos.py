"""Real images from packages that the tests install; the names are those of the golden runs."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import skimage.data
from sklearn.datasets import load_sample_image


@functools.cache
def photo(name: str) -> npt.NDArray[np.uint8]:
    """Return a read-only (H, W, 3) uint8 RGB image."""
    if name == "china":
        image = load_sample_image("china.jpg")
    elif name == "coffee_portrait":
        image = np.rot90(skimage.data.coffee())
    elif name == "coins":
        image = np.repeat(skimage.data.coins()[..., None], 3, axis=2)
    else:
        image = getattr(skimage.data, name)()
    image = np.array(image, order="C")
    image.setflags(write=False)
    return image
