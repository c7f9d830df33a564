"""CoreML, whose files are written and not run: ``mobilesam export --to coreml``."""

from __future__ import annotations

from typing import NoReturn

from mobilesam.errors import InputError, sentence
from mobilesam.runtimes import Request


def open_model(request: Request) -> NoReturn:
    """Raise InputError."""
    actual = f"an export to CoreML ({request.exported[0].parent})"
    remedy = "open its files in an app, or use the provider coreml with an ONNX export"
    raise InputError(sentence("model", "be one that this package runs", actual, remedy))
