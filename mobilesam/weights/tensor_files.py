"""Read and write files of named tensors as NumPy arrays, without torch and without running code of the file."""

from __future__ import annotations

import contextlib
import io
import json
import math
import pickle
import pickletools
import re
import struct
import sys
import warnings
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.arrays import Array
from mobilesam.files import MALFORMED, MAX_MODEL_BYTES, read_bytes
from mobilesam.weights.state_dict import StateDict

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,  # NumPy has no bfloat16; converted to float32 below
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_NAMES: dict[np.dtype[Any], str] = {np.dtype(kind): name for name, kind in _DTYPES.items() if name != "BF16"}
_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}

# The pickle of SAM's largest checkpoint has 0.2 MB. torch does not compress.
_MAX_PICKLE_BYTES = 2**26
_MAX_PACKED_BYTES = 2**30

_HARMLESS = re.compile(
    r"__builtin__\.set|collections\.OrderedDict|torch\._utils\._rebuild_\w+|torch\.(storage\.)?\w+Storage"
)


def read_safetensors(path: Path) -> StateDict:
    """Return the arrays of a .safetensors file.

    Raises:
        OSError: the file cannot be read or is larger than any SAM's.
        ValueError: the file is damaged, or has a dtype that NumPy does not have.
    """
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(read_bytes(path, MAX_MODEL_BYTES))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return {name: _array(entry["data"], entry["dtype"]).reshape(entry["shape"]) for name, entry in entries}


def write_safetensors(path: Path, state: Mapping[str, Array]) -> None:
    """Write arrays as .safetensors; equal arrays give equal bytes with all library versions.

    The manifest lists the digest of a converted file, and the safetensors library does not define the order of the
    header. The format is an 8-byte length, a JSON header, and the data.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in sorted(state):
        value = state[name]
        end = start + value.nbytes
        header[name] = {"dtype": _NAMES[value.dtype], "shape": list(value.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(state):
            file.write(state[name].astype(state[name].dtype.newbyteorder("<"), copy=False).tobytes())


def read_torch_zip(path: Path) -> object:
    """Return the content of a zip file of ``torch.save``, with arrays instead of tensors.

    Raises:
        pickle.UnpicklingError: the file contains more than tensors in plain containers; no code of it has run.
        ValueError: the file is not such a zip file, is truncated, or a tensor reaches outside its storage.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise ValueError("the zip file has no data.pkl")
            with archive.open(names[0]) as file:
                return _TensorUnpickler(file, archive, names[0].removesuffix("data.pkl")).load()
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise ValueError(f"a damaged zip file ({error})") from error


def oversized(path: Path) -> str:
    """Return why a file of ``torch.save`` is too large to be read, by the sizes in its directory, or ""."""
    size = path.stat().st_size
    if size > MAX_MODEL_BYTES:
        return f"a file of {size / 1e9:.1f} GB, which is larger than any SAM"
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (*MALFORMED, zipfile.BadZipFile):
        return ""  # not a zip file, or one that torch refuses
    pickles = [part.file_size for part in parts if part.filename.endswith(".pkl")]
    packed = [part.file_size for part in parts if part.compress_type != zipfile.ZIP_STORED]
    if max(pickles, default=0) > _MAX_PICKLE_BYTES or sum(packed) > _MAX_PACKED_BYTES:
        return f"a ZIP archive that unpacks to {sum(part.file_size for part in parts) / 1e9:.1f} GB"
    if sum(part.compress_size for part in parts) > size:
        return "a ZIP archive whose parts overlap"
    return ""


def describe_pickle(path: Path) -> str:
    """Describe a zip or pickle file that torch refuses, without running code of it."""
    with path.open("rb") as file:
        content = file.read(_MAX_PICKLE_BYTES)
    if content.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                inside = {name.rpartition("/")[2]: name for name in archive.namelist()}
                if "constants.pkl" in inside:
                    return "a TorchScript program, which is code"
                if "data.pkl" not in inside:
                    return "a ZIP archive that torch did not write"
                content = archive.read(inside["data.pkl"])
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError):
            # zipfile raises NotImplementedError for a compression method that it does not know.
            return "a ZIP file that is truncated or damaged"
    names = _globals_of(content)
    return f"a pickle that names {', '.join(names)}, which could run code" if names else "a damaged pickle"


def _globals_of(content: bytes) -> list[str]:
    """Return up to three names that a pickle imports and a dict of tensors does not need."""
    imported: dict[str, None] = {}
    strings: list[str] = []
    stream = io.BytesIO(content)
    # In a damaged pickle, what comes before the damage counts.
    with contextlib.suppress(ValueError, IndexError, struct.error), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while stream.tell() < len(content):  # torch's older format is several pickles and then the data
            for opcode, argument, _ in pickletools.genops(stream):
                if isinstance(argument, str):
                    strings.append(argument)
                if opcode.name == "STACK_GLOBAL":
                    imported[".".join(strings[-2:])] = None
                elif opcode.name in ("GLOBAL", "INST"):
                    imported[str(argument).replace(" ", ".")] = None
    return [name for name in imported if not _HARMLESS.fullmatch(name)][:3]


class _TensorUnpickler(pickle.Unpickler):
    """A pickle reader that imports nothing but tensors and ordered dicts."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file, encoding="utf-8")
        self._archive = archive
        self._root = root

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _strided
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"the file imports {module}.{name}")

    def persistent_load(self, pid: Any) -> Array:
        kind, dtype, key, _device, count = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"the file refers to a {kind!r}")
        values = _array(self._archive.read(f"{self._root}data/{key}"), dtype)
        if len(values) != count:
            raise ValueError(f"storage {key} has {len(values)} values instead of {count}")
        return values


def _strided(values: Array, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> Array:
    reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min((offset, *strides)) < 0 or (0 not in shape and offset + reach >= len(values)):
        raise ValueError("a tensor reaches outside its storage")
    if math.prod(shape) > len(values):
        raise ValueError("a tensor has more values than its storage")
    step = values.itemsize
    return np.lib.stride_tricks.as_strided(values[offset:], shape, [stride * step for stride in strides]).copy()


def _array(content: bytes | bytearray, dtype: str) -> Array:
    if dtype not in _DTYPES:
        raise ValueError(f"a tensor of dtype {dtype}, which is not supported")
    values = np.frombuffer(content, dtype=np.dtype(_DTYPES[dtype]).newbyteorder("<"))
    if sys.byteorder == "big":
        values = values.astype(values.dtype.newbyteorder("="))
    return (values.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else values
