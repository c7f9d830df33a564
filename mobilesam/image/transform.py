"""The transforms from an image to the model frame, under SAM's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mobilesam import geometry
from mobilesam.arrays import FloatArray64, UInt8Array
from mobilesam.image.model_input import resize

if TYPE_CHECKING:
    from torch import Tensor


class ResizeLongestSide:
    """Scales images, points and boxes so that the longer side of the image becomes ``target_length``.

    The torch methods do the same as the NumPy methods, on tensors of any device.
    """

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    def apply_image(self, image: UInt8Array) -> UInt8Array:
        """Resize an image, (H, W, 3) uint8, to a new array, (h, w, 3)."""
        return np.array(resize(image, self.target_length))

    def apply_coords(self, coords: npt.NDArray[Any], original_size: tuple[int, ...]) -> FloatArray64:
        """Map points, (..., 2) x y in pixels of an image of (height, width), to the model frame."""
        return np.asarray(coords, dtype=np.float64) * self._scale(original_size)

    def apply_boxes(self, boxes: npt.NDArray[Any], original_size: tuple[int, ...]) -> FloatArray64:
        """Map boxes, (..., 4) x1 y1 x2 y2 in pixels of an image of (height, width), to (B, 4) in the model frame."""
        return self.apply_coords(np.asarray(boxes).reshape(-1, 2, 2), original_size).reshape(-1, 4)

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """Resize images, (B, 3, H, W) float, with torch's antialiased bilinear filter; nearly equal to Pillow's."""
        from torch.nn import functional as F

        size = self.get_preprocess_shape(image.shape[2], image.shape[3], self.target_length)
        return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)

    def apply_coords_torch(self, coords: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """Map points, (..., 2), as :meth:`apply_coords`, to float32 on their device."""
        import torch

        return coords.to(torch.float32) * coords.new_tensor(self._scale(original_size).tolist(), dtype=torch.float32)

    def apply_boxes_torch(self, boxes: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """Map boxes, (..., 4), as :meth:`apply_boxes`, to float32 on their device."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """Return the (height, width) of an image in the model frame."""
        return geometry.resized_hw((oldh, oldw), long_side_length)

    def _scale(self, original_size: tuple[int, ...]) -> FloatArray64:
        height, width = original_size
        new_height, new_width = geometry.resized_hw((height, width), self.target_length)
        return np.array([new_width / width, new_height / height])
