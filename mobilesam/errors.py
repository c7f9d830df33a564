"""The exceptions and warnings of this package, and the form of messages about arguments.

*argument* must *requirement*, got *actual*; *remedy*
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from mobilesam._moved import moved


class MobileSamError(Exception):
    """Base class of the errors of this package."""


class InputError(MobileSamError, ValueError):
    """An argument, an image, a prompt or a file's content is not usable."""


class ImageNotSetError(MobileSamError, RuntimeError):
    """A prediction was requested before an image was set."""


class CheckpointError(MobileSamError, RuntimeError):
    """A checkpoint cannot be read, recognized or loaded."""


class WeightsError(MobileSamError, RuntimeError):
    """Weights cannot be found, downloaded or verified."""


class ExportError(MobileSamError, RuntimeError):
    """A model cannot be exported, quantized or verified."""


class MissingDependencyError(MobileSamError, ImportError):
    """An optional package is required but not installed."""


class OutOfImageWarning(UserWarning):
    """A prompt lies outside the image; the model decodes it anyway, as the reference does."""


class SingleMaskWarning(UserWarning):
    """Three masks were requested from a model that predicts one; the result is that one."""


class FormatLossWarning(UserWarning):
    """A file format cannot represent the masks completely; the rest is written."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means lack of memory, by the messages of PyTorch, OpenCV and ONNX Runtime."""
    signs = (
        "not enough memory",
        "out of memory",
        "allocate memory",
        "insufficient memory",
        "bad_alloc",
        "bad allocation",
    )
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in signs)


def sentence(argument: str, requirement: str, actual: object, remedy: str) -> str:
    """Return the message about an argument: ``argument must requirement, got actual; remedy``."""
    return f"{argument} must {requirement}, got {actual}; {remedy}"


def unknown_name(argument: str, name: object, choices: Iterable[str]) -> str:
    """Return the message about a name that is not one of ``choices``, with the most similar one as the remedy."""
    known = list(choices)
    near = difflib.get_close_matches(str(name), known, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "choose one of them"
    return sentence(argument, f"be one of {', '.join(known)}", repr(name), remedy)


def missing_dependency(package: str, extra: str, purpose: str, *, alone: bool = False) -> MissingDependencyError:
    """Return the error about an optional package that is not installed, with the pip command.

    Args:
        alone: whether the package is enough, without the others of the extra.
    """
    command = install_command(extra, package if alone else "")
    return MissingDependencyError(f"{purpose} needs {package}, which is not installed; run: {command}")


def install_command(extra: str, package: str = "") -> str:
    """Return the pip command that installs the packages of an extra, such as ``pip install "torch>=2.7"``.

    With ``package`` it is that of this one of them.

    It names the packages, so that it works for a checkout and a wheel, too, which no index has.
    """
    import importlib.metadata

    try:
        requirements = importlib.metadata.requires("mobilesam") or []
    except importlib.metadata.PackageNotFoundError:  # a checkout on the path that is not installed
        return f'pip install ".[{extra}]" in the checkout'
    marker = re.compile(rf"""extra == ["']{extra}["']""")
    packages = [requirement.partition(";")[0].strip() for requirement in requirements if marker.search(requirement)]
    packages = [each for each in packages if each.startswith(package)]
    return " ".join(["pip install", *(f'"{package}"' for package in packages)])


__getattr__ = moved(__name__, {"OutOfPictureWarning": "mobilesam.errors.OutOfImageWarning"})
