"""Models on ONNX Runtime, made once."""

from __future__ import annotations

import pytest

import mobilesam


@pytest.fixture(scope="session")
def onnx_sam():
    """The trained network on ONNX Runtime, shared: tests must not change it."""
    return mobilesam.load(backend="onnx")
