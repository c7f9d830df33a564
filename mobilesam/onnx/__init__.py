"""MobileSAM on ONNX Runtime; nothing here needs torch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# From 1.32 on, ONNX Runtime for Linux reports its use to its makers, beginning with its import. 0 allows that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from mobilesam.onnx.sam import OnnxSam

__all__ = ["OnnxSam"]


def __getattr__(name: str) -> Any:
    if name == "OnnxSam":  # on first use, because the contract of the graphs is also read without ONNX Runtime
        from mobilesam.onnx.sam import OnnxSam

        return OnnxSam
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
