"""The comparison of two benchmark files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_TEXT_BYTES, parse_json, read_bytes


def read_bench(path: Path) -> dict[str, Any]:
    """Read a file that ``mobilesam bench --out`` wrote.

    Raises:
        InputError: the file cannot be read or has other content.
    """
    try:
        content = parse_json(read_bytes(path, MAX_TEXT_BYTES))
        if not isinstance(content, dict) or not str(content.get("format")).startswith("mobilesam-bench-"):
            raise ValueError("not a result of mobilesam bench")
    except (OSError, ValueError) as error:
        actual = f"{type(error).__name__}: {error}"
        requirement, remedy = "be one that mobilesam bench wrote", "measure with --out to write one"
        raise InputError(sentence(f"benchmark file {path}", requirement, actual, remedy)) from error
    return content


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row for each stage of both files: medians in seconds, and ``ratio``, before divided by after."""
    rows = []
    for stage, seconds in before["stages"].items():
        if stage in after["stages"]:
            old, new = seconds["median"], after["stages"][stage]["median"]
            rows.append({"stage": stage, "before": old, "after": new, "ratio": old / new})
    return rows


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the differences between the runs besides the time, as ``name: before -> after``."""
    left, right = _conditions(before), _conditions(after)
    return [
        f"{name}: {left.get(name)} -> {right.get(name)}"
        for name in sorted({*left, *right})
        if left.get(name) != right.get(name)
    ]


def are_of_different_machines(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether the runs cannot be compared: another processor, or a peak that differs by more than a quarter."""
    left, right = before.get("environment", {}), after.get("environment", {})
    if any(left.get(name) != right.get(name) for name in ("processor", "instructions", "caches", "cores")):
        return True
    peaks = [max(bench.get("gemm_gflops", {"1": 0}).values()) for bench in (before, after)]
    return all(peaks) and max(peaks) > 1.25 * min(peaks)


def _conditions(bench: Mapping[str, Any]) -> dict[str, Any]:
    environment = dict(bench.get("environment", {}))
    versions = environment.pop("versions", {})
    hw = bench.get("image_hw", bench.get("picture_hw"))  # the key of version 1
    return {**environment, **versions, **bench.get("model", {}), "image_hw": hw}
