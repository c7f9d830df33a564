"""The models a visitor can choose from, each loaded when it is first used."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from mobilesam.errors import InputError, unknown_name
from mobilesam.model import MaskModel

LABELS = {"onnx": "ONNX Runtime", "torch": "PyTorch"}


class Choice(NamedTuple):
    """label: what the page shows. load: makes the model."""

    label: str
    load: Callable[[], MaskModel]


class Models:
    """Named models; the first is the default."""

    def __init__(self, choices: Mapping[str, Choice]) -> None:
        self._choices = dict(choices)
        self._loaded: dict[str, MaskModel] = {}
        self._lock = threading.Lock()

    @property
    def default(self) -> str:
        """The name of the first model."""
        return next(iter(self._choices))

    def labels(self) -> dict[str, str]:
        """Return what the page shows for each name."""
        return {name: choice.label for name, choice in self._choices.items()}

    def check(self, name: object) -> str:
        """Return a name that is known.

        Raises:
            InputError: it is not.
        """
        if not isinstance(name, str) or name not in self._choices:
            raise InputError(unknown_name("model", name, self._choices))
        return name

    def get(self, name: str) -> MaskModel:
        """Return a model, loading it on first use."""
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._choices[name].load()
            return self._loaded[name]


def choices(model: str | None, backend: str, device: str, threads: int | None) -> Models:
    """Return the models that the page offers: the one asked for, or the default weights on every backend there is."""
    import mobilesam

    def loader(name: str) -> Callable[[], MaskModel]:
        return lambda: mobilesam.load(model, name, device, threads)

    if model is not None or backend != "auto":
        name = backend if backend != "auto" else Path(model or "").name or "model"
        return Models({name: Choice(LABELS.get(name, name), loader(backend))})
    names = ["onnx", *(["torch"] if importlib.util.find_spec("torch") else [])]
    if device not in ("auto", "cpu"):
        names.reverse()  # an accelerator is PyTorch's first of all
    return Models({name: Choice(LABELS[name], loader(name)) for name in names})
