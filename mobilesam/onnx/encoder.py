"""The image encoder as an ONNX file: ours, or one of another maker that computes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mobilesam.arrays import Array, FloatArray, UInt8Array
from mobilesam.config import VARIANTS
from mobilesam.errors import InputError, sentence
from mobilesam.image.model_input import complete_features, empty_input, encoder_input, resize
from mobilesam.onnx import contract
from mobilesam.onnx.sessions import refusing

if TYPE_CHECKING:
    import onnxruntime


_DTYPES: dict[str, np.dtype[Any]] = {"tensor(float)": np.dtype(np.float32), "tensor(uint8)": np.dtype(np.uint8)}
_FEATURES = (1, *contract.ENCODER.outputs[0].shape[1:])
_PATCH = VARIANTS["vit_t"].encoder.patch_size


class Encoded(NamedTuple):
    """features: (1, 256, 64, 64) float32; input_hw: (height, width) in the model frame, before padding."""

    features: FloatArray
    input_hw: tuple[int, int]


class ImageEncoder:
    """Turns images into embeddings.

    Two kinds of input are known, told apart by rank: (B, 3, 1024, 1024) normalized and padded outside, and (H, W, 3)
    RGB in 0..255, normalized and padded in the graph, as samexporter's and Acly's files have it.

    Raises:
        InputError: the file's input or output is another one.
    """

    def __init__(self, session: onnxruntime.InferenceSession, image_size: int) -> None:
        self.session = session
        self.image_size = image_size
        self._input = session.get_inputs()[0]
        self._in_graph = len(self._input.shape) == 3
        self._empty_features: FloatArray | None = None
        shape = tuple(self._input.shape)
        sides = {side for side in shape[2:] if isinstance(side, int)}
        known = shape[2] == 3 if self._in_graph else len(shape) == 4 and shape[1] == 3 and sides <= {image_size}
        if not known or self._input.type not in _DTYPES:
            requirement = f"take (B, 3, {image_size}, {image_size}) or (H, W, 3) pixels"
            remedy = "export it with: mobilesam export"
            raise InputError(sentence("encoder", requirement, f"{self._input.type} {shape}", remedy))

    def encode(self, image: UInt8Array, fast_padding: bool) -> Encoded:
        """Embed an image, (H, W, 3) uint8 RGB; see :meth:`mobilesam.model.MaskModel.encode`.

        Raises:
            InputError: the file cannot do ``fast_padding``, or does not give MobileSAM's embedding.
        """
        empty = self._empty() if fast_padding else None
        pixels, input_hw = self.prepare(image, fast_padding)
        features = self.run(pixels)
        if empty is not None:
            features = complete_features(features, empty)
        if features.shape != _FEATURES:
            remedy = "use an encoder of MobileSAM or SAM for images of this size"
            raise InputError(sentence("encoder", f"give {_FEATURES} features", features.shape, remedy))
        return Encoded(features, input_hw)

    def prepare(self, image: UInt8Array, fast_padding: bool = False) -> tuple[Array, tuple[int, int]]:
        """Return what the graph is given for an image, (H, W, 3) uint8 RGB, and its size in the model frame."""
        if self._in_graph:
            resized = resize(image, self.image_size)
            return resized.astype(_DTYPES[self._input.type], copy=False), (resized.shape[0], resized.shape[1])
        return encoder_input(image, self.image_size, _PATCH if fast_padding else None)

    @property
    def input_name(self) -> str:
        """The name of the graph's input."""
        return str(self._input.name)

    def _empty(self) -> FloatArray:
        """Return the embedding of a square of padding alone, made once."""
        if self._empty_features is None:
            if self._in_graph or isinstance(self._input.shape[2], int):
                actual = f"an input of {tuple(self._input.shape)}"
                remedy = "export it with --dynamic-size, or leave fast_padding out"
                raise InputError(sentence("encoder", "take images of any size for fast_padding", actual, remedy))
            self._empty_features = self.run(empty_input(self.image_size))
        return self._empty_features

    def run(self, pixels: Array) -> FloatArray:
        """Return the features of what :meth:`prepare` made."""
        with refusing("encoder", f"take images of {'x'.join(map(str, pixels.shape))}"):
            (features,) = self.session.run([self.session.get_outputs()[0].name], {self._input.name: pixels})
        return features  # type: ignore[no-any-return]
