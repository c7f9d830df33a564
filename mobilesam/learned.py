"""Small learned models that the package contains: arrays in a file whose digest is known."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.errors import WeightsError


def read_arrays(path: Path, sha256: str, form: str, *, name: str, instead: str) -> Mapping[str, Any]:
    """Return the arrays of an .npz file, those of half precision as float32.

    Args:
        form: what its array "format" must be.
        name, instead: for the message: what is learned, and what to do without it.

    Raises:
        WeightsError: the file is missing or damaged.
    """

    def damaged(reason: str) -> WeightsError:
        return WeightsError(
            f"The learned {name} {path} cannot be used: {reason}. Install mobilesam again, or {instead}."
        )

    try:
        content = path.read_bytes()
    except OSError as error:
        raise damaged(error.strerror or str(error)) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise damaged("its SHA-256 differs")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    if str(arrays.get("format")) != form:
        raise damaged(f"its format is {arrays.get('format')}, not {form}")
    return {key: array.astype(np.float32) if array.dtype.kind == "f" else array for key, array in arrays.items()}
