"""Embeddings of the images to train on, in float16 on disk: 2.1 MB an image, 2.6 MB with the input of the neck."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.files import MALFORMED, atomic_path, open_file
from mobilesam.finetune.network import embed
from mobilesam.geometry import resized_hw
from mobilesam.image.read import image_digest
from mobilesam.model import Embedding
from mobilesam.modeling import Sam
from mobilesam.modeling.torch_sam import TorchSam

Encode = Callable[[UInt8Array], FloatArray]


class FeatureFolder:
    """Features by the digests of image and encoder; what is there is not computed again.

    Args:
        folder: created if needed.
        encoder_id: digest of the encoder's weights, with the layer whose output is kept.
        load: called when the features of an image are absent; returns what computes them, (1, C, 64, 64).
    """

    def __init__(self, folder: Path, encoder_id: str, load: Callable[[], Encode]) -> None:
        self._folder, self._encoder_id, self._load = folder, encoder_id, load
        self._encode: Encode | None = None

    def add(self, image: UInt8Array) -> Path:
        """Return the file with the features of an image, (H, W, 3) uint8 RGB, which are computed if they are absent."""
        path = self._folder / f"{image_digest(image)[:32]}-{self._encoder_id[:16]}.npy"
        try:
            self.read(path)
        except MALFORMED:  # absent, or damaged
            self._encode = self._encode or self._load()
            features = self._encode(image)
            with atomic_path(path) as temporary:
                np.save(temporary, features.astype(np.float16))
        return path

    def release(self) -> None:
        """Free the memory of the encoder, several hundred megabytes with ONNX Runtime."""
        self._encode = None

    @staticmethod
    def read(path: Path) -> Tensor:
        """Return features, (1, C, 64, 64) float32.

        Raises:
            OSError, ValueError: the file cannot be read, or is damaged.
        """
        with open_file(path) as file:
            features = np.load(file, allow_pickle=False)
        if features.dtype != np.float16 or features.ndim != 4 or len(features) != 1 or not np.isfinite(features).all():
            raise ValueError(f"{os.fspath(path)} holds {features.dtype} of shape {features.shape}, not features")
        return torch.from_numpy(features.astype(np.float32))


class StoredModel(TorchSam):
    """A network that takes the features of images from a folder; to be measured with the images it was trained on.

    Args:
        neck: whether features are the input of the neck.
    """

    def __init__(self, sam: Sam, folder: FeatureFolder, *, neck: bool) -> None:
        super().__init__(sam)
        self._folder, self._neck = folder, neck

    @torch.no_grad()
    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        features = embed(self.sam, self._folder.read(self._folder.add(image)), neck=self._neck)
        hw = (image.shape[0], image.shape[1])
        return Embedding(features, hw, resized_hw(hw, self.image_size), image_digest(image))
