"""What the modules of tables share; each of their public functions is a table of the docs: see benchmarks/render.py."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mobilesam.evaluate.report import table

Results = Mapping[str, Any]  # the JSON of benchmarks/results by name
MACHINE = "{machine}, {system}, commit {commit}"


def rows_table(rows: Iterable[Mapping[str, Any]], *columns: tuple[str, str | Callable[[Any], str]]) -> str:
    """Return a Markdown table of dictionaries; a column is its head, and a format or a function of the row."""
    cells = [[form.format_map(row) if isinstance(form, str) else form(row) for _, form in columns] for row in rows]
    return table([head for head, _ in columns], cells)


def ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def mib(size: float) -> str:
    return f"{size / 2**20:.0f}"


def conditions(result: Mapping[str, Any], form: str) -> str:
    """Fill a format with the environment of a result, its versions as one text, and its other entries."""
    values = {**result["environment"], **result}
    listed = ", ".join(f"{name} {version}" for name, version in values["versions"].items() if version)
    return form.format_map({**values, "versions": listed, "machine": _machine(values)})


def _machine(environment: Mapping[str, Any]) -> str:
    """Return processor, cores, instruction sets, caches and peak, as far as the result has them."""
    parts = [environment["processor"], f"{environment['cores']} cores"]
    parts += [" ".join(environment["instructions"])] if environment.get("instructions") else []
    parts += (
        [" ".join(f"{name} {size}" for name, size in environment["caches"].items())]
        if environment.get("caches")
        else []
    )
    if peaks := environment.get("gemm_gflops"):
        reached = ", ".join(f"{value:.0f} on {threads}" for threads, value in peaks.items())
        parts.append(f"matrix products {reached} threads GFLOP/s")
    return ", ".join(parts)


def where(part: Mapping[str, Any]) -> str:
    """Return the machine, the commit, the threads and the versions of one part of a result."""
    return conditions(part, "{machine}, commit {commit}, {threads} threads, {versions}")


def recall_rows(results: Results, part: str = "recall") -> list[dict[str, Any]]:
    """Return "mode", median "seconds", "share" of the exact masks found and number of "masks", exact first."""
    rows = results["everything"][part]["rows"]
    exact = sum(row["exact"]["masks"] for row in rows)
    return [
        {
            "mode": mode,
            "seconds": statistics.median(row[mode]["seconds"] for row in rows),
            "mean": statistics.mean(row[mode]["seconds"] for row in rows),
            "share": sum(row[mode]["found"] for row in rows) / exact,
            "masks": sum(row[mode]["masks"] for row in rows),
        }
        for mode in rows[0]
        if mode != "photo"
    ]
