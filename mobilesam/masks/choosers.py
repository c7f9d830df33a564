"""The choosers of a model, and the file in which those of a tuned checkpoint are kept.

The package contains choosers for the published weights. A checkpoint of other weights may have choosers of its own in a
second file: ``NAME.choosers.npz`` beside ``NAME.pt``, and ``choosers.npz`` in the folder of an ONNX export. It is an
.npz file without pickles, with the arrays of :mod:`mobilesam.masks.chooser` under the prefix "point_", and those of
:mod:`mobilesam.masks.box_chooser` under "box_". Either may be absent, and a model without a chooser selects the mask of
a click by agreement and takes the single mask of a box.
"""

from __future__ import annotations

import io
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mobilesam.arrays import Array, FloatArray
from mobilesam.errors import InputError, WeightsError, sentence
from mobilesam.files import MALFORMED, exists, read_bytes, write_bytes
from mobilesam.learned import Learned, LearnedArrays
from mobilesam.masks import box_chooser, chooser

FORMAT = "mobilesam-choosers-1"
NAME = "choosers.npz"  # in a folder

_MAX_BYTES = 2**23  # of the file and of what it unpacks to; a chooser has 50 kB
_MAX_HIDDEN = 1024
_MAX_WEIGHTS = 64
_DAMAGED = (*MALFORMED, MemoryError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError)


class Choosers(NamedTuple):
    """What expects the IoUs of the four masks of a click and of a box; by default for the published weights."""

    point: Learned = chooser.FILE
    box: Learned = box_chooser.FILE


PUBLISHED = Choosers()
_FEATURES = {"point": chooser.FEATURES, "box": box_chooser.FEATURES}
# The shape of each array of a chooser: F features, H hidden values, M masks.
_SHAPES = {
    "mean": "F",
    "scale": "F",
    "linear_weight": "FM",
    "linear_bias": "M",
    "hidden_weight": "FH",
    "hidden_bias": "H",
    "output_weight": "HM",
    "output_bias": "M",
}


def file_of(source: Path) -> Path:
    """Return the path of the choosers file of a checkpoint or of the folder of an ONNX export."""
    return source / NAME if exists(source) and source.is_dir() else source.with_suffix(f".{NAME}")


def find(source: Path, weights_id: Callable[[], str]) -> Choosers:
    """Return the choosers of a checkpoint or of the folder of an ONNX export; :data:`PUBLISHED` if it has none.

    A file that was learned on other weights is not used, with a warning.

    Args:
        weights_id: returns the :attr:`mobilesam.model.MaskModel.source_weights_id`; called if there is a file.

    Raises:
        WeightsError: the file is damaged.
    """
    path = file_of(source)
    if not exists(path):
        return PUBLISHED
    choosers = read(path)
    if any(each.knows(weights_id()) for each in _own(choosers).values()):
        return choosers
    warnings.warn(f"{path} was learned on other weights than those of {source}, and is not used", stacklevel=1)
    return PUBLISHED


def read(path: Path) -> Choosers:
    """Read a choosers file.

    Raises:
        WeightsError: it cannot be read or is damaged.
    """
    try:
        return _parsed(read_bytes(path, _MAX_BYTES))
    except _DAMAGED as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise WeightsError(
            f"The choosers file {path} cannot be used: {reason}. Run mobilesam finetune again, or delete the file to "
            "select masks without it."
        ) from error


def write(path: Path, choosers: Choosers, *, force: bool = True) -> None:
    """Write the choosers that are not those of the package, which were learned on the same weights.

    Args:
        path: see :func:`file_of`.
        choosers: at least one of them is a :class:`mobilesam.learned.LearnedArrays`, whose "weights_ids" is a list of
            digests of weights, see :func:`mobilesam.weights.checkpoint.state_digest`.
        force: overwrite a file that exists.

    Raises:
        InputError: an array is missing or wrong, or the file cannot be written.
    """
    content = _packed({part: each.arrays for part, each in _own(choosers).items()})
    try:
        _parsed(content)
    except ValueError as error:
        remedy = "pass all arrays of a chooser that was learned"
        raise InputError(sentence("choosers", "have the arrays of a chooser", f"others: {error}", remedy)) from error
    write_bytes(path, content, force=force)


def content_of(choosers: Choosers, weights_id: str) -> bytes | None:
    """Return the content of a choosers file for weights, or None if no choosers but those of the package know them."""
    own = {part: each.arrays for part, each in _own(choosers).items() if each.knows(weights_id)}
    return _packed(own) if own else None


def _own(choosers: Choosers) -> dict[str, LearnedArrays]:
    """Return the choosers that are not those of the package, by prompt."""
    return {part: each for part, each in choosers._asdict().items() if isinstance(each, LearnedArrays)}


def _packed(learned: Mapping[str, Mapping[str, Any]]) -> bytes:
    ids = [set(np.ravel(arrays["weights_ids"]).tolist()) for arrays in learned.values()]
    common = np.array(sorted(set.intersection(*ids)) if ids else [], np.str_)
    arrays = {f"{part}_{name}": own[name] for part, own in learned.items() for name in _SHAPES if name in own}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, format=np.array(FORMAT), weights_ids=common, **arrays)
    return buffer.getvalue()


def _parsed(content: bytes) -> Choosers:
    """Return the choosers in the content of a file. Errors are those of :data:`_DAMAGED`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > _MAX_BYTES:
        raise ValueError(f"it unpacks to {size / 1e6:,.0f} MB")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        if "format" not in arrays or str(arrays["format"]) != FORMAT:
            actual = str(arrays["format"])[:80] if "format" in arrays else "missing"
            raise ValueError(f"its format is {actual}, not {FORMAT}")
        if "weights_ids" not in arrays:
            raise ValueError("the array weights_ids is missing")
        ids = arrays["weights_ids"]
        if ids.dtype.kind != "U" or ids.ndim != 1 or not 1 <= len(ids) <= _MAX_WEIGHTS:
            raise ValueError(f"weights_ids has type {ids.dtype} and shape {ids.shape} instead of a list of texts")
        parts = [part for part in _FEATURES if any(name.startswith(f"{part}_") for name in arrays)]
        if not parts:
            raise ValueError("it contains no chooser")
        return Choosers(**{part: LearnedArrays(_chooser(arrays, part) | {"weights_ids": ids}) for part in parts})


def _chooser(arrays: Mapping[str, Array], part: str) -> dict[str, FloatArray]:
    """Return the arrays of a chooser as float32."""
    for name in _SHAPES:
        if f"{part}_{name}" not in arrays:
            raise ValueError(f"the array {part}_{name} is missing")
    hidden = arrays[f"{part}_hidden_bias"].size
    if not 1 <= hidden <= _MAX_HIDDEN:
        raise ValueError(f"{part}_hidden_bias has {hidden} values instead of 1 to {_MAX_HIDDEN}")
    lengths = {"F": _FEATURES[part], "H": hidden, "M": chooser.MASKS}
    result = {}
    for name, letters in _SHAPES.items():
        array, shape = arrays[f"{part}_{name}"], tuple(lengths[letter] for letter in letters)
        if array.dtype.kind != "f" or array.shape != shape:
            actual = f"type {array.dtype} and shape {array.shape}"
            raise ValueError(f"{part}_{name} has {actual} instead of floating-point numbers of shape {shape}")
        with np.errstate(over="ignore"):
            result[name] = array.astype(np.float32)
        if not np.isfinite(result[name]).all():
            raise ValueError(f"{part}_{name} has NaN or infinite values")
    if not (result["scale"] > 0).all():
        raise ValueError(f"{part}_scale has values that are not positive")
    return result
