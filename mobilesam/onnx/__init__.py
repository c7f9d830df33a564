"""MobileSAM on ONNX Runtime; nothing here needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobilesam.onnx.sam import OnnxSam

__all__ = ["OnnxSam"]


def __getattr__(name: str) -> Any:
    if name == "OnnxSam":  # on first use, because the contract of the graphs is also read without ONNX Runtime
        from mobilesam.onnx.sam import OnnxSam

        return OnnxSam
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
