"""Ideas that have one home: types of arrays, the encoder's input, the decoder's masks, the reversal of an ONNX pair."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.test_architecture import MODULES


def text_of(module: str) -> str:
    path: Path = MODULES[module]
    return path.read_text(encoding="utf-8")


def test_types_of_arrays_are_named_in_one_module() -> None:
    alias = re.compile(r"^\w+(: \w+)? = npt\.NDArray", re.MULTILINE)
    assert {module for module in MODULES if alias.search(text_of(module))} == {"arrays"}


def test_types_of_arrays_that_have_a_name_are_called_by_it() -> None:
    named = {line.partition(" = ")[2] for line in text_of("arrays").splitlines() if " = npt.NDArray" in line}
    assert len(named) == 8
    for module in MODULES.keys() - {"arrays"}:
        assert not [kind for kind in named if kind in text_of(module)], module


def imported(module: str) -> set[str]:
    """Return the modules that a module imports names from, anywhere in it."""
    return {node.module or "" for node in ast.walk(ast.parse(text_of(module))) if isinstance(node, ast.ImportFrom)}


def test_types_of_arrays_are_imported_from_their_module() -> None:
    for module in MODULES.keys() - {"arrays"}:
        named = re.search(r"(?<![\w.`])(Bool|UInt8|Int|Float|AnyInt|AnyFloat)Array(64)?\b", text_of(module))
        assert not named or "mobilesam.arrays" in imported(module), module
