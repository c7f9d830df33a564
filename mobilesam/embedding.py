"""Saved embeddings, in files and folders, so that an image is encoded only once."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.config import VARIANTS
from mobilesam.errors import InputError, sentence
from mobilesam.files import MALFORMED, atomic_path, open_file
from mobilesam.image.read import image_digest
from mobilesam.model import Embedding, MaskModel, Wrapped

FEATURES_SHAPE = (1, VARIANTS["vit_t"].embed_dim, *[VARIANTS["vit_t"].grid_size] * 2)

_FORMAT = "mobilesam-embedding-1"
_MAX_BYTES = 2**26  # of an unpacked file; an embedding has 4 MB
_MAX_SIDE = 2**24  # of an image, in pixels


def save_embedding(path: str | os.PathLike[str], embedding: Embedding, model: MaskModel) -> None:
    """Write an embedding as .npz, with the digests of its image and of the model's weights."""
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


def load_embedding(path: str | os.PathLike[str], model: MaskModel, image: UInt8Array | None = None) -> Embedding:
    """Read an embedding that :func:`save_embedding` wrote.

    Args:
        image: (H, W, 3) uint8 RGB, to check that the embedding belongs to it.

    Raises:
        InputError: the file is not an embedding, or is one of other weights or of another image.
    """
    embedding, weights_id = _read(Path(path), model)
    if weights_id != model.weights_id:
        actual = f"{path}, which other weights made"
        raise InputError(sentence("embedding", "come from the weights in use", actual, "encode the image again"))
    if image is not None and embedding.image_digest != image_digest(image):
        actual = f"{path}, which belongs to another image"
        raise InputError(sentence("embedding", "belong to this image", actual, "encode the image again"))
    return replace(embedding, features=model.load_features(embedding.features))


def with_embeddings(model: MaskModel, folder: str | os.PathLike[str] | None) -> MaskModel:
    """Return a model that takes embeddings of images from a folder; the model itself for None.

    Raises:
        InputError: the folder does not exist.
    """
    return model if folder is None else PreparedModel(model, Path(folder))


def embedding_path(folder: Path, image: UInt8Array, weights_id: str, *, fast_padding: bool = False) -> Path:
    """Return the path of the embedding of an image, (H, W, 3) uint8 RGB, in a folder."""
    kind = "-fast" if fast_padding else ""
    return folder / f"{image_digest(image)[:32]}-{weights_id[:16]}{kind}.npz"


class PreparedModel(Wrapped):
    """A model that encodes only the images whose embedding is not in a folder."""

    def __init__(self, model: MaskModel, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(sentence("the folder of embeddings", "exist", folder, "create it with mobilesam embed"))
        super().__init__(model)
        self._folder = folder

    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        path = embedding_path(self._folder, image, self.weights_id, fast_padding=fast_padding)
        if path.exists():
            return load_embedding(path, self._model, image)
        return self._model.encode(image, fast_padding=fast_padding)


def _read(path: Path, model: MaskModel) -> tuple[Embedding, str]:
    """Return an embedding, its features as an array, and the digest of its weights."""
    remedy = "use a file that save_embedding wrote, or encode the image again"
    names = ("format", "features", "original_hw", "input_hw", "image_digest", "weights_id")
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            size = sum(part.file_size for part in archive.infolist())
            if size > _MAX_BYTES:
                raise ValueError(f"it unpacks to {size / 1e6:,.0f} MB")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                fields = {name: arrays[name] for name in names}
        file_format, digest, weights_id = (str(fields[name]) for name in ("format", "image_digest", "weights_id"))
        if file_format != _FORMAT:
            actual = f"{path} ({file_format[:80]})"
            raise InputError(sentence("embedding", f"have the format {_FORMAT}", actual, remedy))
        original_hw, input_hw = _sizes(fields, model.image_size)
        return Embedding(_features(fields["features"]), original_hw, input_hw, digest), weights_id
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(sentence("embedding path", "be an existing file", path, remedy)) from error
    except (*MALFORMED, MemoryError, zipfile.BadZipFile, zlib.error, struct.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(sentence("embedding", "be a file of save_embedding", f"{path} ({reason})", remedy)) from error


def _features(array: npt.NDArray[Any]) -> FloatArray:
    if array.dtype != np.float32 or array.shape != FEATURES_SHAPE:
        raise ValueError(f"features of type {array.dtype} and shape {array.shape} instead of float32 {FEATURES_SHAPE}")
    if not np.isfinite(array).all():
        raise ValueError("features with NaN or infinite values")
    return array


def _sizes(fields: dict[str, npt.NDArray[Any]], image_size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    sizes = []
    for name, highest in (("original_hw", _MAX_SIDE), ("input_hw", image_size)):
        array = fields[name]
        if array.dtype.kind not in "iu" or array.shape != (2,) or not ((array >= 1) & (array <= highest)).all():
            raise ValueError(f"{name} is {array.tolist()!r:.80} instead of a height and a width")
        sizes.append((int(array[0]), int(array[1])))
    return sizes[0], sizes[1]
