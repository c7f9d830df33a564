"""What the user points at, validated once and put into the one form every model takes.

A prompt is a list of labelled points, as in SAM's ONNX contract: label 1 is foreground, 0 background, -1 ignored padding,
2 and 3 the upper left and lower right corner of a box. A prompt without a box ends with one padding point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

BACKGROUND, FOREGROUND, PADDING, BOX_START, BOX_END = 0, 1, -1, 2, 3


@dataclass(frozen=True, eq=False)
class Prompts:
    """B prompts of N points each, in the model frame, ready for a model.

    point_coords: (B, N, 2) float32, x y in pixels of the model frame (longer side 1024).
    point_labels: (B, N) float32: 1, 0, -1, 2, 3 as in the module's description.
    mask_input: (B, 1, 256, 256) float32 logits of an earlier prediction, or None.
    """

    point_coords: FloatArray
    point_labels: FloatArray
    mask_input: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.point_coords)

    def __getitem__(self, part: slice) -> Prompts:
        mask_input = None if self.mask_input is None else self.mask_input[part]
        return Prompts(self.point_coords[part], self.point_labels[part], mask_input)
