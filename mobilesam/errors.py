"""The exception family, and the one sentence every message follows.

*argument* must *requirement*, got *actual*; *remedy*

Messages are part of the API: tests assert on their text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mobilesam._moved import moved


class MobileSamError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(MobileSamError, ValueError):
    """An argument, an image, a prompt or a file's content is not usable."""


class ImageNotSetError(MobileSamError, RuntimeError):
    """A prediction was asked for before an image was set."""


class CheckpointError(MobileSamError, RuntimeError):
    """A checkpoint cannot be read, recognized or loaded."""


class WeightsError(MobileSamError, RuntimeError):
    """Weights cannot be found, fetched or verified."""


class ExportError(MobileSamError, RuntimeError):
    """A model cannot be exported, quantized or verified."""


class MissingDependencyError(MobileSamError, ImportError):
    """An optional package is needed and not installed."""


class OutOfImageWarning(UserWarning):
    """A prompt lies outside the image; the model answers all the same, as the reference does."""


class SingleMaskWarning(UserWarning):
    """Three masks were asked of a model that gives one; it answers with that one."""


class FormatLossWarning(UserWarning):
    """A file format cannot hold all that the masks are; what it can is written."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is one of memory, which PyTorch, OpenCV and ONNX Runtime report in their own ways."""
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
    """Return the message of an error: ``argument must requirement, got actual; remedy``."""
    return f"{argument} must {requirement}, got {actual}; {remedy}"


def unknown_name(argument: str, name: object, choices: Iterable[str]) -> str:
    """Return the message for a name that is not among ``choices``, with the nearest one as the remedy."""
    known = list(choices)
    near = difflib.get_close_matches(str(name), known, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "choose one of them"
    return sentence(argument, f"be one of {', '.join(known)}", repr(name), remedy)


def missing_dependency(package: str, extra: str, purpose: str) -> MissingDependencyError:
    """Return the error for an optional package that is not installed, with the command that installs it."""
    return MissingDependencyError(
        f'{purpose} needs {package}, which is not installed; run: pip install "mobilesam[{extra}]"'
    )


__getattr__ = moved(__name__, {"OutOfPictureWarning": "mobilesam.errors.OutOfImageWarning"})
