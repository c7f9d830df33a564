"""The runtimes that graphs of fixed shapes are converted to: one module each under its name, with a TARGET."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from mobilesam.errors import ExportError, InputError, unknown_name
from mobilesam.onnx import fixed
from mobilesam.onnx.fixed_folder import PRECISIONS, TITLES, OpenRun

if TYPE_CHECKING:
    from mobilesam.export.fixed_modules import Named

Files = Mapping[str, bytes]
NAMES = tuple(TITLES)
LARGEST_RANK = 4


class Operators(NamedTuple):
    """counts: of each operator of a file; largest_rank: of its tensors."""

    counts: dict[str, int]
    largest_rank: int


class Target(NamedTuple):
    """How graphs are converted to the files of a runtime.

    require: raises MissingDependencyError if the converter is not installed.
    convert: returns the files of a module in a precision, by what follows the role in their names.
    operators: returns what such files are made of.
    open_run: of :meth:`mobilesam.onnx.fixed_folder.FixedFolder.opener`, or None if the files are not run.
    suffixes: of the files of a graph; a folder counts as one.
    precisions: of the weights, those that can be written.
    roles: of the graphs that are written.
    """

    require: Callable[[], None]
    convert: Callable[[Named, str], Files]
    operators: Callable[[Files], Operators]
    open_run: OpenRun | None
    suffixes: tuple[str, ...]
    precisions: tuple[str, ...] = PRECISIONS
    roles: tuple[str, ...] = fixed.ROLES


def target(name: str) -> Target:
    """Return the target of a runtime.

    Raises:
        InputError: there is none of this name.
    """
    if name not in NAMES:
        raise InputError(unknown_name("runtime", name, NAMES))
    made: Target = importlib.import_module(f"mobilesam.export.targets.{name}").TARGET
    return made


def refuse_ranks(role: str, used: Operators) -> None:
    """Raise ExportError if a file has tensors of more dimensions than the GPUs of phones take."""
    if used.largest_rank > LARGEST_RANK:
        raise ExportError(
            f"The file of {role!r} has a tensor of rank {used.largest_rank}, which the GPUs of phones refuse. Report "
            "it with the versions that mobilesam doctor shows."
        )
