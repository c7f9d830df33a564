"""The models that the page offers, each loaded when it is first used."""

from __future__ import annotations

import importlib.util
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mobilesam.config import FLOAT32
from mobilesam.errors import InputError, unknown_name
from mobilesam.loading import find_export
from mobilesam.model import MaskModel
from mobilesam.onnx import metadata, recognition

LABELS = {"onnx": "ONNX float32", "torch": "PyTorch"}

Load = Callable[[str | None, str], MaskModel]


class Choice(NamedTuple):
    """label: the text on the page. load: returns the model. source: the model as :func:`mobilesam.load` takes it."""

    label: str
    load: Callable[[], MaskModel]
    source: str | None = None


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
        """Return the label of each name."""
        return {name: choice.label for name, choice in self._choices.items()}

    def source(self, name: str) -> str | None:
        """Return a model as :func:`mobilesam.load` takes it."""
        return self._choices[name].source

    def check(self, name: object) -> str:
        """Return a name if it is known.

        Raises:
            InputError: it is unknown.
        """
        if not isinstance(name, str) or name not in self._choices:
            raise InputError(unknown_name("model", name, self._choices))
        return name

    def get(self, name: str) -> MaskModel:
        """Return a model, which is loaded on first use."""
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._choices[name].load()
            return self._loaded[name]


def choices(models: Sequence[str], backend: str, device: str, load: Load) -> Models:
    """Return the models that the page offers: each of ``models``, on every backend that can run it.

    Args:
        models: weights names, checkpoints, or folders of ONNX files; if empty, the default weights.
        backend: as for :func:`mobilesam.load`.
        device: as for :func:`mobilesam.load`.
        load: called on first use with one of ``models``, or None for the default weights, and a backend.
    """
    offered: dict[str, Choice] = {}
    requested: Sequence[str | None] = models or [None]
    for model in requested:
        exported = find_export(model)
        backends = [backend] if backend != "auto" else ["onnx"] if exported else _backends(device)
        suffix = "" if model is None else Path(model.split(",")[0]).name or "model"
        for each in backends:
            label = _precision_label(exported) if exported else LABELS.get(each, each)
            name = f"{each}-{suffix}" if suffix else each
            names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
            unused = next(candidate for candidate in names if candidate not in offered)
            offered[unused] = Choice(f"{label} · {suffix}" if suffix else label, partial(load, model, each), model)
    return Models(offered)


def _backends(device: str) -> list[str]:
    """Return the backends that can run a checkpoint on a device, the fastest first."""
    torch = ["torch"] if importlib.util.find_spec("torch") else []
    if device == "mps":
        return torch
    return ["onnx", *torch] if device in ("auto", "cpu") else [*torch, "onnx"]


def _precision_label(exported: Sequence[Path]) -> str:
    """Return a label with the precision of the weights, if the metadata of the ONNX files contains it."""
    precisions = {metadata.of(recognition.read(path)).get("precision", "") for path in exported}
    other = sorted(precisions - {FLOAT32})
    return f"ONNX {other[-1] if other else FLOAT32}".rstrip()
