"""A folder of embeddings made beforehand, and a model that takes them from there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobilesam.embedding import load_embedding
from mobilesam.errors import InputError, sentence
from mobilesam.image.read import image_digest
from mobilesam.model import Embedding, MaskModel, Wrapped


def with_embeddings(model: MaskModel, folder: str | os.PathLike[str] | None) -> MaskModel:
    """Return a model that takes the embeddings of pictures from a folder, if there is one.

    Raises:
        InputError: the folder does not exist.
    """
    return model if folder is None else PreparedModel(model, Path(folder))


def embedding_path(folder: Path, image: npt.NDArray[np.uint8], weights_id: str, *, fast_padding: bool = False) -> Path:
    """Return where a picture's embedding is, by its pixels, (H, W, 3) uint8 RGB, and by what made it."""
    kind = "-fast" if fast_padding else ""
    return folder / f"{image_digest(image)[:32]}-{weights_id[:16]}{kind}.npz"


class PreparedModel(Wrapped):
    """A model that encodes only the pictures whose embedding is not in the folder; all else is the model's own."""

    def __init__(self, model: MaskModel, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(sentence("the folder of embeddings", "exist", folder, "make it with mobilesam embed"))
        super().__init__(model)
        self._folder = folder

    def encode(self, image: npt.NDArray[np.uint8], *, fast_padding: bool = False) -> Embedding:
        """Return the picture's embedding from the folder, or make it."""
        path = embedding_path(self._folder, image, self.weights_id, fast_padding=fast_padding)
        if path.exists():
            return load_embedding(path, self._model, image)
        return self._model.encode(image, fast_padding=fast_padding)
