"""Embeddings on disk, so that a picture is encoded once even across programs."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mobilesam.errors import InputError, sentence
from mobilesam.files import atomic_path
from mobilesam.image import image_digest
from mobilesam.model import Embedding, MaskModel

_FORMAT = "mobilesam-embedding-1"


def save_embedding(path: str | os.PathLike[str], embedding: Embedding, model: MaskModel) -> None:
    """Write an embedding as .npz, with the digests of its picture and of the weights that made it."""
    target = Path(path)
    if target.suffix != ".npz":
        raise InputError(sentence("embedding path", "end in .npz", repr(str(path)), "add the suffix"))
    with atomic_path(target) as temporary:
        np.savez(
            temporary,
            format=np.array(_FORMAT),
            features=model.dump_features(embedding.features),
            original_hw=np.array(embedding.original_hw),
            input_hw=np.array(embedding.input_hw),
            image_digest=np.array(embedding.image_digest),
            weights_id=np.array(model.weights_id),
        )


def load_embedding(
    path: str | os.PathLike[str], model: MaskModel, image: npt.NDArray[np.uint8] | None = None
) -> Embedding:
    """Read an embedding that :func:`save_embedding` wrote.

    Args:
        image: the picture, (H, W, 3) uint8 RGB, if the embedding is to be checked against it.

    Raises:
        InputError: the file is no embedding, or one of other weights or of another picture.
    """
    fields = _read(Path(path))
    if fields["weights_id"] != model.weights_id:
        raise InputError(
            sentence("embedding", "come from the weights in use", "one of other weights", "encode the picture again")
        )
    if image is not None and fields["image_digest"] != image_digest(image):
        raise InputError(
            sentence("embedding", "belong to this picture", "one of another picture", "encode the picture again")
        )
    original_hw, input_hw = ((int(height), int(width)) for height, width in (fields["original_hw"], fields["input_hw"]))
    features = np.asarray(fields["features"], dtype=np.float32)
    return Embedding(model.load_features(features), original_hw, input_hw, str(fields["image_digest"]))


def _read(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    names = ("format", "features", "original_hw", "input_hw", "image_digest", "weights_id")
    remedy = "give a file that save_embedding wrote"
    if not path.is_file():
        raise InputError(sentence("embedding path", "be a file", str(path), remedy))
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            fields = {name: archive[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(sentence("embedding", "be one of this package", f"{path.name} ({error})", remedy)) from error
    if fields["format"] != _FORMAT or fields["features"].ndim != 4:
        raise InputError(sentence("embedding", f"have the format {_FORMAT}", str(fields["format"]), remedy))
    return fields
