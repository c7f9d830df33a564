"""Array types by dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
BoolArray = npt.NDArray[np.bool_]
UInt8Array = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
FloatArray64 = npt.NDArray[np.float64]
AnyIntArray = npt.NDArray[np.integer[Any]]
AnyFloatArray = npt.NDArray[np.floating]
