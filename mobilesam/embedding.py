"""Saved embeddings, in files and folders, so that an image is encoded only once."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobilesam import storage
from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.config import VARIANTS
from mobilesam.errors import InputError, sentence
from mobilesam.files import MALFORMED, open_file
from mobilesam.image.read import image_digest
from mobilesam.model import Embedding, MaskModel, Wrapped
from mobilesam.storage import Place

FEATURES_SHAPE = (1, VARIANTS["vit_t"].embed_dim, *[VARIANTS["vit_t"].grid_size] * 2)

_FORMAT = "mobilesam-embedding-1"
_MAX_BYTES = 2**26  # of an unpacked file; an embedding has 4 MB
_RECORD = 1000  # bytes of the record of a file
_MAX_SIDE = 2**24  # of an image, in pixels


def save_embedding(path: str | os.PathLike[str], embedding: Embedding, model: MaskModel) -> None:
    """Write an embedding as .npz to a path or a URL, with the digests of its image and of the model's weights."""
    if not str(path).endswith(".npz"):
        raise InputError(sentence("embedding path", "end in .npz", repr(str(path)), "add the suffix"))
    content = io.BytesIO()
    np.savez(
        content,
        format=np.array(_FORMAT),
        features=model.dump_features(embedding.features),
        original_hw=np.array(embedding.original_hw),
        input_hw=np.array(embedding.input_hw),
        image_digest=np.array(embedding.image_digest),
        weights_id=np.array(model.weights_id),
    )
    storage.write(storage.place(path), content.getvalue())


def load_embedding(path: str | os.PathLike[str], model: MaskModel, image: UInt8Array | None = None) -> Embedding:
    """Read an embedding that :func:`save_embedding` wrote.

    Args:
        image: (H, W, 3) uint8 RGB, to check that the embedding belongs to it.

    Raises:
        InputError: the file is not an embedding, or is one of other weights or of another image.
    """
    embedding, weights_id = _read(storage.place(path), model)
    if weights_id != model.weights_id:
        actual = f"{path}, which other weights made"
        raise InputError(sentence("embedding", "come from the weights in use", actual, "encode the image again"))
    if image is not None and embedding.image_digest != image_digest(image):
        actual = f"{path}, which belongs to another image"
        raise InputError(sentence("embedding", "belong to this image", actual, "encode the image again"))
    return replace(embedding, features=model.load_features(embedding.features))


class EmbeddingFolder:
    """A folder of embeddings by the digests of image and weights, which several processes may use.

    It also knows files of images by their content, so that a file whose embedding is there need not be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._place = storage.place(path)

    def path_of(self, digest: str, weights_id: str, *, fast_padding: bool = False) -> Place:
        """Return the path or URL of the embedding of an image.

        digest: of its pixels, see :func:`mobilesam.image.read.image_digest`.
        """
        kind = "-fast" if fast_padding else ""
        return storage.join(self._place, f"{digest[:32]}-{weights_id[:16]}{kind}.npz")

    def has(self, digest: str, model: MaskModel) -> bool:
        """Return whether the embedding of the image with a digest is in the folder."""
        return storage.exists(self.path_of(digest, model.weights_id))

    def find(self, digest: str, model: MaskModel, *, fast_padding: bool = False) -> Embedding | None:
        """Return the embedding of the image with a digest, or None if it is not in the folder.

        Raises:
            InputError: the file is damaged.
        """
        path = self.path_of(digest, model.weights_id, fast_padding=fast_padding)
        if not storage.exists(path):
            return None
        embedding = load_embedding(path, model)
        if embedding.image_digest != digest:
            actual = f"{path}, which belongs to another image"
            raise InputError(sentence("embedding", "belong to this image", actual, "encode the image again"))
        return embedding

    def save(self, embedding: Embedding, model: MaskModel) -> None:
        """Add an embedding."""
        save_embedding(self.path_of(embedding.image_digest, model.weights_id), embedding, model)

    def add_file(self, content_digest: str, digest: str, original_hw: tuple[int, int]) -> None:
        """Record the image in a file.

        Args:
            content_digest: sha256 of the file, hexadecimal.
            digest: of the pixels. original_hw: (height, width) of the image.
        """
        target = self._file(content_digest)
        if not storage.exists(target):
            storage.write(target, json.dumps({"image_digest": digest, "original_hw": original_hw}).encode())

    def image_of_file(self, content_digest: str) -> tuple[str, tuple[int, int]] | None:
        """Return the digest and the (height, width) of the image in a file, or None for an unknown file."""
        try:
            value = json.loads(storage.read(self._file(content_digest), _RECORD))
            height, width = value["original_hw"]
            return str(value["image_digest"]), (int(height), int(width))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _file(self, content_digest: str) -> Place:
        return storage.join(self._place, f"{content_digest}.image.json")


def open_embeddings(folder: str | os.PathLike[str] | None, *, create: bool = False) -> EmbeddingFolder | None:
    """Return a folder of embeddings, a path or a URL, or None for None.

    Args:
        create: whether a folder that is absent is created; otherwise it is an error.

    Raises:
        InputError: the folder does not exist, or cannot be created.
    """
    if folder is None:
        return None
    where = storage.place(folder)
    if create and isinstance(where, Path):
        try:
            where.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            actual = f"{folder} ({error.strerror or error})"
            raise InputError(sentence("the folder of embeddings", "be usable", actual, "name another")) from error
    # Object storage has no folders without files.
    if not create and not (where.is_dir() if isinstance(where, Path) else next(storage.walk(where), None)):
        raise InputError(sentence("the folder of embeddings", "exist", folder, "create it with mobilesam embed"))
    return EmbeddingFolder(folder)


def with_embeddings(model: MaskModel, folder: str | os.PathLike[str] | None) -> MaskModel:
    """Return a model that takes embeddings of images from a folder, a path or a URL; the model itself for None.

    Raises:
        InputError: the folder does not exist.
    """
    opened = open_embeddings(folder)
    return model if opened is None else PreparedModel(model, opened)


class PreparedModel(Wrapped):
    """A model that encodes only the images whose embedding is not in a folder."""

    def __init__(self, model: MaskModel, folder: EmbeddingFolder) -> None:
        super().__init__(model)
        self._folder = folder

    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        embedding = self._folder.find(image_digest(image), self._model, fast_padding=fast_padding)
        return embedding or self._model.encode(image, fast_padding=fast_padding)


def _read(path: Place, model: MaskModel) -> tuple[Embedding, str]:
    """Return an embedding, its features as an array, and the digest of its weights."""
    remedy = "use a file that save_embedding wrote, or encode the image again"
    names = ("format", "features", "original_hw", "input_hw", "image_digest", "weights_id")
    try:
        with (
            open_file(path) if isinstance(path, Path) else io.BytesIO(storage.read(path, _MAX_BYTES)) as file,
            zipfile.ZipFile(file) as archive,
        ):
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
