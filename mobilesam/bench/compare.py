"""Two benchmark files side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_TEXT_BYTES, parse_json, read_bytes


def read_bench(path: Path) -> dict[str, Any]:
    """Read a file that ``mobilesam bench --out`` wrote.

    Raises:
        InputError: it cannot be read or is something else.
    """
    try:
        content = parse_json(read_bytes(path, MAX_TEXT_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(_not_bench(path, f"{type(error).__name__}: {error}")) from error
    if not isinstance(content, dict) or not str(content.get("format")).startswith("mobilesam-bench-"):
        raise InputError(_not_bench(path, "another JSON file"))
    return content


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a stage found in both: medians in seconds and ``ratio``, how many times faster ``after`` is."""
    return [
        {
            "stage": stage,
            "before": found["median"],
            "after": after["stages"][stage]["median"],
            "ratio": found["median"] / after["stages"][stage]["median"],
        }
        for stage, found in before["stages"].items()
        if stage in after["stages"]
    ]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between the runs besides the time, as ``name: before -> after``."""
    left, right = _conditions(before), _conditions(after)
    return [
        f"{name}: {left.get(name)} -> {right.get(name)}"
        for name in sorted({*left, *right})
        if left.get(name) != right.get(name)
    ]


def _conditions(bench: Mapping[str, Any]) -> dict[str, Any]:
    environment = bench.get("environment", {})
    versions = environment.get("versions", {})
    plain = {name: value for name, value in environment.items() if name != "versions"}
    return {**plain, **versions, **bench.get("model", {}), "image_hw": bench.get("image_hw", bench.get("picture_hw"))}


def _not_bench(path: Path, actual: str) -> str:
    return sentence(f"benchmark file {path}", "be one that mobilesam bench wrote", actual, "make it with --out")
