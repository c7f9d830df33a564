"""``mobile_sam`` under its own name: this module and its submodules are those of the package ``mobilesam``."""

import importlib
import importlib.abc
import importlib.machinery
import sys
from importlib.metadata import packages_distributions

_OWN = "mobilesam-compat"

_others = sorted(set(packages_distributions().get(__name__, ())) - {_OWN})
if _others:
    raise ImportError(
        f"Two installed distributions provide the module {__name__}: {_OWN} and {', '.join(_others)}. "
        f"Remove one of them: pip uninstall {_others[0]}, then install {_OWN} again.",
        name=__name__,
    )


class _Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports ``mobile_sam.x`` as the module ``mobilesam.x`` itself, not as a copy of it."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.startswith("mobile_sam."):
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def exec_module(self, module):
        sys.modules[module.__name__] = importlib.import_module("mobilesam." + module.__name__.partition(".")[2])


sys.meta_path.insert(0, _Alias())
sys.modules[__name__] = importlib.import_module("mobilesam")
