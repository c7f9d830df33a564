"""The state of a run on disk, from which ``--resume`` continues after an interruption or a crash."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mobilesam.errors import InputError
from mobilesam.files import MALFORMED, exists, open_file, write_bytes

FORMAT = "mobilesam-finetune-1"


class Snapshots:
    """A file with the latest state of a run.

    Args:
        path: of the file.
        about: what has to be equal for a run to be continued, by name, as text.
    """

    def __init__(self, path: Path, about: Mapping[str, str]) -> None:
        self._path, self._about = path, dict(about)

    def exists(self) -> bool:
        """Return whether a stopped run left a state."""
        return exists(self._path)

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the state.

        Raises:
            InputError: the file cannot be written; the state before it is still there.
        """
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "about": self._about, **state}, buffer)
        write_bytes(self._path, buffer.getvalue())

    def read(self) -> dict[str, Any]:
        """Return the state.

        Raises:
            InputError: the file is damaged, or is of a run with other images, settings or versions.
        """
        try:
            with open_file(self._path) as file:
                state = torch.load(file, map_location="cpu", weights_only=True)
            about = state["about"]
            if state["format"] != FORMAT or not isinstance(about, dict):
                raise ValueError(f"its format is {state['format']!r}")
        except (pickle.UnpicklingError, *MALFORMED) as error:
            reason = getattr(error, "strerror", None) or "it is damaged"
            raise InputError(f"The state {self._path} cannot be read ({reason}). Start again with --force.") from error
        for name, value in self._about.items():
            if about.get(name) != value:
                raise InputError(
                    f"The stopped run in {self._path.parent} had {name} {about.get(name)}, and this one has {value}. "
                    "Run the same command with --resume, or start again with --force."
                )
        return dict(state)

    def remove(self) -> None:
        """Delete the state."""
        self._path.unlink(missing_ok=True)
