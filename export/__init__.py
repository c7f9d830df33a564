"""Export to ONNX, verification and quantization; installed as ``mobilesam.export``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mobilesam.onnx  # noqa: F401  # before ONNX Runtime is imported, so that it sends no reports

if TYPE_CHECKING:
    from mobilesam.export.exporter import export_onnx
    from mobilesam.export.packs import export_pack
    from mobilesam.export.plan import Plan

__all__ = ["Plan", "export_onnx", "export_pack"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, because verification runs without torch."""
    if name == "export_onnx":
        from mobilesam.export.exporter import export_onnx

        return export_onnx
    if name == "export_pack":
        from mobilesam.export.packs import export_pack

        return export_pack
    if name == "Plan":
        from mobilesam.export.plan import Plan

        return Plan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
