"""The models a visitor can choose from, each loaded when it is first used."""

from __future__ import annotations

import importlib.util
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mobilesam.errors import InputError, unknown_name
from mobilesam.loading import find_export
from mobilesam.model import MaskModel
from mobilesam.onnx import metadata, recognition

LABELS = {"onnx": "ONNX float32", "torch": "PyTorch"}

Load = Callable[[str | None, str], MaskModel]


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


def choices(models: Sequence[str], backend: str, device: str, load: Load) -> Models:
    """Return the models that the page offers: each asked for, or the default weights, on every backend it can run on.

    Args:
        models: names of weights, checkpoints, folders of ONNX files; none for the default weights.
        backend, device: as for :func:`mobilesam.load`.
        load: called with one of them, or None for the default weights, and a backend, when it is first used.
    """
    found: dict[str, Choice] = {}
    wanted: Sequence[str | None] = models or [None]
    for model in wanted:
        exported = find_export(model)
        backends = [backend] if backend != "auto" else ["onnx"] if exported else _backends(device)
        for each in backends:
            label = _precision_label(exported) if exported else LABELS.get(each, each)
            name = each if model is None else f"{each}-{_short(model)}"
            choice = Choice(label if model is None else f"{label} · {_short(model)}", partial(load, model, each))
            found[_unused(name, found)] = choice
    return Models(found)


def _backends(device: str) -> list[str]:
    """Return what a checkpoint can run on here, the fastest first."""
    torch = ["torch"] if importlib.util.find_spec("torch") else []
    if device == "mps":
        return torch
    return ["onnx", *torch] if device in ("auto", "cpu") else [*torch, "onnx"]


def _precision_label(exported: Sequence[Path]) -> str:
    """Return what to call ONNX files that say how their weights are stored, or do not."""
    precisions = {metadata.of(recognition.read(path)).get("precision", "") for path in exported}
    other = sorted(precisions - {metadata.FLOAT32})
    return f"ONNX {other[-1] if other else metadata.FLOAT32}".rstrip()


def _short(model: str) -> str:
    return Path(model.split(",")[0]).name or "model"


def _unused(name: str, taken: Mapping[str, object]) -> str:
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(each for each in names if each not in taken)
