"""Small learned models: those that the package contains, in files whose digests are known, and others in memory."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mobilesam.errors import WeightsError


class Learned(Protocol):
    """A small learned model.

    arrays: by name, those of numbers as float32; "weights_ids" has those of the weights that it was learned on.
    """

    @property
    def arrays(self) -> Mapping[str, Any]: ...

    def knows(self, weights_id: str) -> bool:
        """Return whether it was learned on the masks of these weights."""
        ...


@dataclass(frozen=True, eq=False)
class LearnedArrays:
    """A small learned model in memory."""

    arrays: Mapping[str, Any] = field(repr=False)

    def knows(self, weights_id: str) -> bool:
        """Return whether the model was learned on the masks of these weights."""
        return weights_id in self.arrays["weights_ids"].tolist()


@dataclass(frozen=True)
class LearnedFile:
    """An .npz file, which is read when its arrays are needed.

    form: what its array "format" must be.
    name, instead: for messages: what is learned, and what to do without it.
    """

    path: Path
    sha256: str
    form: str
    name: str
    instead: str

    def knows(self, weights_id: str) -> bool:
        """Return whether the model was learned on the masks of these weights.

        Raises:
            WeightsError: the file is missing or damaged.
        """
        return weights_id in self.arrays["weights_ids"].tolist()

    @functools.cached_property
    def arrays(self) -> Mapping[str, Any]:
        """The arrays, those of half precision as float32.

        Raises:
            WeightsError: the file is missing or damaged.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise self._damaged("its SHA-256 differs")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        if str(arrays.get("format")) != self.form:
            raise self._damaged(f"its format is {arrays.get('format')}, not {self.form}")
        return {key: array.astype(np.float32) if array.dtype.kind == "f" else array for key, array in arrays.items()}

    def _damaged(self, reason: str) -> WeightsError:
        return WeightsError(
            f"The learned {self.name} {self.path} cannot be used: {reason}. Install mobilesam again, or {self.instead}."
        )
