"""MobileSAM on ONNX Runtime; nothing here needs torch."""

from mobilesam.onnx.sam import OnnxSam

__all__ = ["OnnxSam"]
