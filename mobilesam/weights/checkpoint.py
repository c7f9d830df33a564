"""Read checkpoints of every layout, told apart by content, and write them for other packages.

Everything outside :mod:`mobilesam.modeling` handles a checkpoint as arrays under the official keys. A file never runs
code: pickles are read by torch with ``weights_only``, or by an allow-list.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilesam import file_kind, weights
from mobilesam.arrays import Array
from mobilesam.config import DEFAULT
from mobilesam.errors import (
    CheckpointError,
    InputError,
    MissingDependencyError,
    install_command,
    missing_dependency,
    sentence,
)
from mobilesam.files import atomic_path, exists, expanded, open_file, write_bytes
from mobilesam.weights import recognition, state_dict, tensor_files
from mobilesam.weights.state_dict import StateDict

if TYPE_CHECKING:
    from torch import nn

StrPath = str | os.PathLike[str]
PAIR = ("encoder.onnx", "sam.onnx")

_REMEDY = 'give a checkpoint of MobileSAM or SAM, or run "mobilesam weights fetch" to get one'
_EXPECTED = "be a checkpoint of MobileSAM or SAM (.pt, .safetensors, or the folder of an ONNX pair)"
_WRAPPERS = ("model", "state_dict", "model_state_dict", "model_state")
_PREFIXES = ("module.", "_orig_mod.", "model.", "sam.")  # of DataParallel, torch.compile, Lightning and micro-sam
_PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
_EXTRA = "decoder_state"  # micro-sam's decoder for instance segmentation, beside the network
_TORCH_SUFFIXES, _SAFE_SUFFIX = (".pt", ".pth"), ".safetensors"
# Errors of damaged pickles other than UnpicklingError.
_BROKEN = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError),
    *(TypeError, ValueError, struct.error),
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The tensors of a file that has been recognized.

    state: float32 arrays (and int64 counters) under the official keys, without the unused classifier.
    description: the kind and the path of the file, for messages.
    variant: the network, one of :data:`mobilesam.config.VARIANTS`.
    """

    state: StateDict
    description: str
    variant: str = DEFAULT

    @cached_property
    def weights_id(self) -> str:
        """A digest of the weights: equal digests give equal embeddings."""
        return state_digest(self.state)


def state_digest(state: Mapping[str, Array]) -> str:
    """Return the sha256 of the tensors that inference uses, by key, shape and float32 value.

    Counters of batch norms and the unused classifier are left out, so a network has the digest of its file.
    """
    digest = hashlib.sha256()
    for key in sorted(state):
        if not key.endswith(state_dict.COUNTER_SUFFIX) and not state_dict.is_ignored(key):
            digest.update(f"{key}{tuple(state[key].shape)}".encode())
            digest.update(np.ascontiguousarray(state[key], dtype="<f4").data)
    return digest.hexdigest()


def read(source: StrPath | Sequence[StrPath]) -> Checkpoint:
    """Read a checkpoint.

    Args:
        source: the official .pt of MobileSAM or SAM, also wrapped as {"model": ...} or {"state_dict": ...}, with the
            prefix of DataParallel or in half precision, as MedSAM and micro-sam write it; a .safetensors; or an ONNX
            pair as its folder or its two files. The content decides, not the suffix.

    Raises:
        CheckpointError: it is not a checkpoint of MobileSAM or SAM; the message says what it is. No code of the file
            has run.
        MissingDependencyError: it is a .pt that only torch can read, and torch is not installed.
    """
    if not isinstance(source, (str, os.PathLike)):
        return _read_pair([expanded(path) for path in source])
    path = expanded(source)
    if exists(path) and path.is_dir():
        pair = [path / name for name in PAIR]
        if not all(file.is_file() for file in pair):
            raise _refusal(path, f"a folder without {' and '.join(PAIR)}")
        return _read_pair(pair)
    try:
        with open_file(path) as file:
            head = file.read(512)
        kind = _kind(head)
        if kind == "ONNX":
            remedy = f"give the folder that contains {' and '.join(PAIR)}, or both files"
            raise _refusal(path, "one ONNX file, which is half of a model", remedy)
        if kind not in ("torch", "safetensors"):
            raise _refusal(path, kind)
        return _recognized(path, _read_torch(path) if kind == "torch" else _read_safetensors(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from error


def load_into(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint into a network, strictly: exactly the tensors of the network.

    Raises:
        CheckpointError: the two do not match; the message names the tensors that differ.
    """
    import torch

    own = {key: tuple(value.shape) for key, value in module.state_dict().items() if not state_dict.is_ignored(key)}
    wrong = recognition.difference(own, {key: value.shape for key, value in checkpoint.state.items()})
    if wrong:
        actual = f"{checkpoint.description}: {wrong}"
        raise CheckpointError(sentence("checkpoint", f"match {type(module).__name__}", actual, _REMEDY))
    # Read-only arrays are copied, because tensors cannot be read-only.
    tensors = {key: torch.from_numpy(np.require(value, requirements="W")) for key, value in checkpoint.state.items()}
    module.load_state_dict(tensors, strict=False)


def write(path: StrPath, state: Mapping[str, Array], *, force: bool = True) -> None:
    """Write tensors under the official keys, with the unused classifier, so that the reference package loads them.

    Args:
        path: a .pt or .pth, which needs torch, or a .safetensors.
        state: arrays under the official keys, written as float32; a missing classifier is written as zeros.

    Raises:
        InputError: the suffix is another one, the file exists and ``force`` is false, or it cannot be written.
        CheckpointError: ``state`` does not have the tensors of a MobileSAM or SAM.
    """
    path = expanded(path)
    check_suffix(path)
    used = {key: value.shape for key, value in state.items() if not state_dict.is_ignored(key)}
    variant = state_dict.variant_of(used)
    if wrong := recognition.difference(state_dict.used_shapes(variant), used):
        name = "MobileSAM" if variant == DEFAULT else f"SAM ({variant})"
        raise CheckpointError(sentence("state", f"contain the tensors of {name}", wrong, "pass a complete state dict"))
    full = state_dict.complete(state, variant)
    if path.suffix == _SAFE_SUFFIX:
        with atomic_path(path, force=force) as temporary:
            tensor_files.write_safetensors(temporary, full)
        return
    try:
        import torch
    except ImportError as error:
        raise missing_dependency("torch", "torch", f"writing a {path.suffix} file") from error
    # Through memory, because torch reports a full disk as an internal error.
    buffer = io.BytesIO()
    torch.save({key: torch.tensor(value) for key, value in full.items()}, buffer)
    write_bytes(path, buffer.getvalue(), force=force)


def check_suffix(path: Path) -> None:
    """Raise InputError unless a file has a suffix that :func:`write` knows."""
    if path.suffix not in (*_TORCH_SUFFIXES, _SAFE_SUFFIX):
        choices = ", ".join((*_TORCH_SUFFIXES, _SAFE_SUFFIX))
        raise InputError(sentence("checkpoint file", f"end in one of {choices}", path.name, "rename it"))


def _kind(head: bytes) -> str:
    if not head:
        return "an empty file"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, because the file itself was not downloaded"
    # Before all other formats: it begins with a length, whose lowest byte can equal the first byte of any format.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return "safetensors"
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return "torch"
    # An ONNX file begins with field 1, the version of the format, in one byte; fields 2 to 7 follow, the graph last.
    if head[0] == 0x08 and head[2:3] and head[2] in b"\x12\x1a\x22\x28\x32\x3a":
        return "ONNX"
    return file_kind.describe(head)


def _read_safetensors(path: Path) -> StateDict:
    try:
        return tensor_files.read_safetensors(path)
    except ValueError as error:
        raise _refusal(path, f"a damaged safetensors file ({error})") from error


def _read_torch(path: Path) -> object:
    if reason := tensor_files.oversized(path):
        raise _refusal(path, reason)
    if weights.is_listed(path):
        return tensor_files.read_torch_zip(path)  # also where torch is installed, because importing it takes longer
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is not one of the official files, so reading it needs torch, which is not installed. "
            f"Run: {install_command('torch')}, or convert the checkpoint to .safetensors."
        ) from error
    try:
        # An open file, because torch goes by the suffix of a path. Its warnings say less than the errors below.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location="cpu", weights_only=True)
        return _arrays(content)
    except (pickle.UnpicklingError, *_BROKEN) as error:
        raise _refusal(path, tensor_files.describe_pickle(path)) from error


def _arrays(content: Any) -> Any:
    """Return nested dicts of arrays instead of tensors; half precision becomes float32."""
    import torch

    if isinstance(content, Mapping):
        return {key: _arrays(value) for key, value in content.items()}
    if isinstance(content, torch.Tensor):
        content = content.detach()
        return (content.float() if content.is_floating_point() else content).numpy()
    return content


def _read_pair(paths: Sequence[Path]) -> Checkpoint:
    if len(paths) != 2:
        raise CheckpointError(sentence("ONNX pair", "be two files", f"{len(paths)}", _REMEDY))
    from mobilesam.weights import onnx_pair

    state = onnx_pair.pair_to_state(*paths)
    return Checkpoint(state, f"a MobileSAM ONNX pair ({' and '.join(map(str, paths))})")


def _recognized(path: Path, content: object) -> Checkpoint:
    """Unwrap what was read and compare it with the official keys."""
    while isinstance(content, Mapping) and (inner := [key for key in _WRAPPERS if isinstance(content.get(key), dict)]):
        if _EXTRA in content:
            message = f"{path} also contains a decoder for instance segmentation ({_EXTRA!r}), which is not used"
            warnings.warn(message, stacklevel=4)
        content = content[inner[0]]
    if not isinstance(content, Mapping) or not content:
        raise _refusal(path, f"a pickled {type(content).__name__} without tensors")
    state = {str(key): value for key, value in content.items() if isinstance(value, np.ndarray)}
    if len(state) < len(content):
        other = next(key for key, value in content.items() if not isinstance(value, np.ndarray))
        raise _refusal(path, f"a pickled dict whose {other!r} is a {type(content[other]).__name__}, not a tensor")
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state) and any(key[len(prefix) :].startswith(_PARTS) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    used = {key: value for key, value in state.items() if not state_dict.is_ignored(key)}
    shapes = {key: value.shape for key, value in used.items()}
    variant = state_dict.variant_of(shapes)
    if wrong := recognition.difference(state_dict.used_shapes(variant), shapes):
        raise _refusal(path, f"{recognition.describe(shapes)}: {wrong}")
    ordered = {key: used[key].astype(state_dict.dtype(key), copy=False) for key in state_dict.used_shapes(variant)}
    return Checkpoint(ordered, f"{recognition.describe(shapes)} ({path})", variant)


def _refusal(path: Path, actual: str, remedy: str = _REMEDY) -> CheckpointError:
    return CheckpointError(sentence(str(path), _EXPECTED, actual, remedy))
