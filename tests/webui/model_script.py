"""Runs code in Node with the modules of webui/static/model, on values from Python."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

STATIC = Path(__file__).resolve().parents[2] / "webui" / "static"
NODE = shutil.which("node")

# An array becomes a typed array, and a typed array of the result a list.
_BEFORE = """
import { readFileSync } from "node:fs";
const KINDS = { float32: Float32Array, uint8: Uint8Array };
const given = JSON.parse(readFileSync("given.json"), (key, value) => {
  if (!value?.kind) return value;
  const bytes = Uint8Array.from(Buffer.from(value.data, "base64"));
  return new KINDS[value.kind](bytes.buffer);
});
"""
_AFTER = """
console.log(JSON.stringify(result, (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value)));
"""


def run(folder: Path, code: str, **given: Any) -> Any:
    """Return the variable ``result`` that code sets.

    Args:
        folder: an empty folder for its files.
        code: may import from ``./static/model/`` and use ``given``.
        given: JSON values, and arrays of float32 and uint8.
    """
    if NODE is None:
        pytest.skip("Node is not installed: apt-get install nodejs")
    shutil.copytree(STATIC, folder / "static", dirs_exist_ok=True)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "given.json").write_text(json.dumps(given, default=_encoded))
    (folder / "code.js").write_text(_BEFORE + code + _AFTER)
    command = [NODE, "--stack-size=4000", "code.js"]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return json.loads(outcome.stdout)


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        assert value.dtype.name in ("float32", "uint8"), value.dtype
        return {"kind": value.dtype.name, "data": base64.b64encode(value.tobytes()).decode()}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value).__name__)
