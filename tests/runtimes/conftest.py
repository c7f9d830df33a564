"""These tests run with ``make test-runtimes``, each in an environment of its own, but for OpenVINO."""

from __future__ import annotations

import importlib.util

_CONVERTERS = {"litert": "litert_torch", "coreml": "coremltools", "ncnn": "pnnx", "openvino": "openvino"}
_MISSING = [name for name, module in _CONVERTERS.items() if not importlib.util.find_spec(module)]
collect_ignore_glob = [f"test_{name}.py" for name in _MISSING]
