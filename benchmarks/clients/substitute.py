"""Let ``mobile_sam`` and ``segment_anything`` be mobilesam, for programs that import them.

The distribution in compat/ does this for ``mobile_sam``. A program that needs ``segment_anything`` as well is run here:

    python -m benchmarks.clients.substitute -m pytest test_of_the_program.py
    python -m benchmarks.clients.substitute program.py ARGUMENTS
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import runpy
import sys
from types import ModuleType
from typing import Any

NAMES = ("mobile_sam", "segment_anything")


class _Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, target: str, names: tuple[str, ...]) -> None:
        self._target, self._names = target, names

    def find_spec(self, fullname: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        name = self._name(fullname)
        return importlib.machinery.ModuleSpec(fullname, self) if name and name != self._target else None

    def exec_module(self, module: ModuleType) -> None:
        rest = module.__name__.removeprefix(self._name(module.__name__))
        sys.modules[module.__name__] = importlib.import_module(self._target + rest)

    def _name(self, fullname: str) -> str:
        return next((name for name in self._names if f"{fullname}.".startswith(f"{name}.")), "")


def install(target: str = "mobilesam", names: tuple[str, ...] = NAMES) -> None:
    """Make modules of these names ``target``, with all their submodules, in this process."""
    sys.meta_path.insert(0, _Alias(target, names))


def main() -> None:
    """Run a program in this process."""
    install()
    module, sys.argv = sys.argv[1] == "-m", sys.argv[1:]
    if module:
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
