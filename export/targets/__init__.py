"""The runtimes that graphs of fixed shapes are converted to, one module each under its name.

A module has these names:

    PRECISIONS   of the weights that it can write
    ROLES        of the graphs that it writes
    require()    raises MissingDependencyError if the converter is not installed
    convert(module, precision)   returns the files of a graph: their contents by what follows the role in their names
    operators(files)             returns what the files are made of
    open_run     of :class:`mobilesam.onnx.fixed_folder.FixedFolder`, or None if the files are not run
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from mobilesam.errors import ExportError, InputError, unknown_name
from mobilesam.onnx.fixed_folder import TITLES

Files = Mapping[str, bytes]
NAMES = tuple(TITLES)
LARGEST_RANK = 4


class Operators(NamedTuple):
    """counts: of each operator of a file; largest_rank: of its tensors."""

    counts: dict[str, int]
    largest_rank: int


def target(name: str) -> Any:
    """Return the module of a runtime.

    Raises:
        InputError: there is none of this name.
    """
    if name not in NAMES:
        raise InputError(unknown_name("runtime", name, NAMES))
    return importlib.import_module(f"mobilesam.export.targets.{name}")


def refuse_ranks(role: str, used: Operators) -> None:
    """Raise ExportError if a file has tensors of more dimensions than the GPUs of phones take."""
    if used.largest_rank > LARGEST_RANK:
        raise ExportError(
            f"The file of {role!r} has a tensor of rank {used.largest_rank}, which the GPUs of phones refuse. Report "
            "it with the versions that mobilesam doctor shows."
        )
