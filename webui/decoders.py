"""Decoders that run in a browser tab: their files, in memory once a tab has requested them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping

from mobilesam.errors import InputError, MobileSamError, unknown_name
from mobilesam.serve.models import Models

Make = Callable[[str | None], Mapping[str, bytes]]


class Decoders:
    """The files of the decoder of each model, under addresses that only pages with a session know.

    make: returns the files of a model, as :func:`mobilesam.load` takes it; None if tabs decode nothing.
    """

    def __init__(self, models: Models, make: Make | None = None) -> None:
        self._models = models
        self._make = make
        self._secret = secrets.token_urlsafe(16)
        self._files: dict[str | None, Mapping[str, bytes] | MobileSamError] = {}
        self._lock = threading.Lock()

    def addresses(self) -> dict[str, str]:
        """Return the address of the folder of each model's files."""
        if self._make is None:
            return {}
        return {name: f"service/decoder/{self._secret}/{name}/" for name in self._models.labels()}

    def read(self, secret: str, name: str, file: str) -> bytes:
        """Return the content of a file of a model.

        Raises:
            InputError: there is no such file, or the model has no decoder that runs in a tab.
            MissingDependencyError: the decoder must be exported first, and PyTorch is not installed.
        """
        if self._make is None or not secrets.compare_digest(secret.encode(), self._secret.encode()):
            raise InputError("This address of a decoder is of another server. Reload the page.")
        source = self._models.source(self._models.check(name))
        with self._lock:
            if source not in self._files:
                try:
                    self._files[source] = self._make(source)
                except MobileSamError as error:  # kept, so that no later request tries again
                    self._files[source] = error
            files = self._files[source]
        if isinstance(files, MobileSamError):
            raise files
        if file not in files:
            raise InputError(unknown_name("the file", file, sorted(files)))
        return files[file]
