"""The image encoder as an ONNX file of this package or of another exporter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mobilesam.arrays import Array, FloatArray, UInt8Array
from mobilesam.config import VARIANTS
from mobilesam.errors import InputError, sentence
from mobilesam.image.model_input import (
    complete_features,
    empty_input,
    encode_together,
    encoder_input,
    resize,
)
from mobilesam.onnx import contract
from mobilesam.onnx.sessions import ort_errors

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

    There are two kinds of input, told apart by rank: (B, 3, 1024, 1024), normalized and padded outside of the graph;
    and (H, W, 3) RGB in 0..255, normalized and padded in the graph, as in the files of samexporter and Acly.

    Raises:
        InputError: the file has another kind of input.
    """

    def __init__(self, session: onnxruntime.InferenceSession, image_size: int) -> None:
        self.session = session
        self.image_size = image_size
        self._input = session.get_inputs()[0]
        self.input_name: str = self._input.name
        self._in_graph = len(self._input.shape) == 3
        self._empty_features: FloatArray | None = None
        shape = tuple(self._input.shape)
        sides = {side for side in shape[2:] if isinstance(side, int)}
        known = shape[2] == 3 if self._in_graph else len(shape) == 4 and shape[1] == 3 and sides <= {image_size}
        if not known or self._input.type not in _DTYPES:
            requirement = f"take (B, 3, {image_size}, {image_size}) or (H, W, 3) pixels"
            remedy = "export it with: mobilesam export"
            raise InputError(sentence("encoder", requirement, f"{self._input.type} {shape}", remedy))

    def encode(self, images: Sequence[UInt8Array], fast_padding: bool, most: int = 1) -> list[Encoded]:
        """Embed images, (H, W, 3) uint8 RGB, at most ``most`` in a call; see :meth:`mobilesam.model.MaskModel.encode`.

        Raises:
            InputError: the file does not support ``fast_padding``, or its output is not an embedding of this shape.
        """
        empty = self._empty() if fast_padding else None
        inputs = [self.prepare(image, fast_padding) for image in images]
        fixed = self._in_graph or isinstance(self._input.shape[0], int)
        encoded = []
        for features, input_hw in encode_together(self.run, inputs, 1 if fixed else most):
            complete = features if empty is None else complete_features(features, empty)
            if complete.shape != _FEATURES:
                requirement = f"have shape {_FEATURES}"
                remedy = "use an encoder of MobileSAM or SAM for images of this size"
                raise InputError(sentence("the output of the encoder", requirement, complete.shape, remedy))
            encoded.append(Encoded(complete, input_hw))
        return encoded

    def prepare(self, image: UInt8Array, fast_padding: bool = False) -> tuple[Array, tuple[int, int]]:
        """Return the input of the graph for an image, (H, W, 3) uint8 RGB, and the size in the model frame."""
        if self._in_graph:
            resized = resize(image, self.image_size)
            return resized.astype(_DTYPES[self._input.type], copy=False), (resized.shape[0], resized.shape[1])
        return encoder_input(image, self.image_size, _PATCH if fast_padding else None)

    def _empty(self) -> FloatArray:
        """Return the embedding of a square of padding alone, computed once."""
        if self._empty_features is None:
            if self._in_graph or isinstance(self._input.shape[2], int):
                actual = f"an input of {tuple(self._input.shape)}"
                remedy = "export it with --dynamic-size, or leave fast_padding out"
                raise InputError(sentence("encoder", "take images of any size for fast_padding", actual, remedy))
            self._empty_features = self.run(empty_input(self.image_size))
        return self._empty_features

    def run(self, pixels: Array) -> FloatArray:
        """Return the features of an input that :meth:`prepare` returned."""
        with ort_errors(f"run the encoder on an input of {'x'.join(map(str, pixels.shape))}"):
            (features,) = self.session.run([self.session.get_outputs()[0].name], {self.input_name: pixels})
        return features  # type: ignore[no-any-return]
