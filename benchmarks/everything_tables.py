"""The tables and charts of everything mode: see benchmarks/everything.py."""

from __future__ import annotations

import statistics
from typing import Any

from mobilesam.evaluate.charts import MUTED, Chart
from mobilesam.evaluate.report import table

Results = Any  # the JSON files by name: benchmarks.render.Results
_MODES = ("exact", "balanced", "fast")
_COLORS = ((15, 118, 110), (202, 98, 23), (88, 80, 180))


def everything_side(results: Results) -> str:
    """Return time and memory against the reference, on one image."""
    rows = [
        [
            row["name"],
            f"{row['seconds']:.1f}",
            f"{row['times_faster']:.1f}",
            f"{row['peak_bytes'] / 2**20:.0f}",
            str(row["masks"]),
            str(row["found"]),
        ]
        for row in results["everything"]["side"]["rows"]
    ]
    return table(["", "s", "times faster", "peak MiB", "masks", "of the reference's found at IoU 0.8"], rows)


def everything_recall(results: Results) -> str:
    """Return what share of the exact mode's masks the others find, in what time."""
    cells = [[mode, f"{seconds:.1f}", f"{share:.3f}", str(masks)] for mode, seconds, share, masks in _recalls(results)]
    wanted = cells[0][-1]
    return table(["mode", "median s a photo", f"of {wanted} exact masks found", "masks in all"], cells)


def everything_memory(results: Results) -> str:
    """Return peak memory against the size of the image."""
    rows = [
        [f"{row['megapixels']:g}", row["how"], f"{row['peak_bytes'] / 2**20:.0f}", f"{row['seconds']:.1f}"]
        for row in results["everything"]["memory"]["rows"]
    ]
    return table(["megapixels", "", "peak MiB", "s"], rows)


def everything_curve(results: Results) -> str:
    """Return the time of an exact run against the grid and the size of the image."""
    rows = results["everything"]["curve"]["rows"]
    grids, sizes = _axes(rows)
    seconds = {(row["megapixels"], row["grid"]): row["seconds"] for row in rows}
    head = ["grid", *(f"{size:g} megapixels, s" for size in sizes)]
    return table(head, [[f"{n} x {n}", *(f"{seconds[size, n]:.1f}" for size in sizes)] for n in grids])


def conditions_everything(results: Results) -> str:
    """Return where and on what it was measured."""
    parts = results["everything"]
    return "\n".join(
        f"- {name}: {where(parts[name])}" for name in ("side", "recall", "memory", "curve") if name in parts
    )


def cost_chart(results: Results) -> Any:
    """Return the cost curve as pixels, (H, W, 3) uint8."""
    rows = results["everything"]["curve"]["rows"]
    grids, sizes = _axes(rows)
    highest = max(row["seconds"] for row in rows)
    top = 5 * (int(highest / 5) + 1)
    chart = Chart("An exact run", (0, grids[-1] ** 2), (0, top), "points of the grid", "seconds")
    chart.x_ticks([n**2 for n in grids])
    chart.y_ticks(range(0, top + 1, 5))
    for size, color in zip(sizes, _COLORS, strict=False):
        points = [(row["grid"] ** 2, row["seconds"]) for row in rows if row["megapixels"] == size]
        chart.line(points, color, 2, dots=3)
        chart.text(points[-2], f"{size:g} megapixels", 12, color, "rs", dx=-8, dy=-8 - 16 * sizes.index(size))
    return chart.render()


def recall_chart(results: Results) -> Any:
    """Return recall against time as pixels, (H, W, 3) uint8."""
    found = list(_recalls(results))
    top = max(seconds for _, seconds, _, _ in found)
    chart = Chart(
        "What the faster modes find",
        (0, 1.15 * top),
        (0, 1),
        "median seconds a photo",
        "share of the exact mode's masks",
    )
    chart.x_ticks(range(0, int(1.15 * top) + 1, 2))
    chart.y_ticks([0, 0.25, 0.5, 0.75, 1])
    chart.line([(seconds, share) for _, seconds, share, _ in found], MUTED, 1, dots=4)
    for (mode, seconds, share, _), color in zip(found, _COLORS, strict=True):
        chart.text((seconds, share), f"{mode} {share:.2f}", 13, color, "lt", dx=6, dy=10)
    return chart.render()


def _recalls(results: Results) -> list[tuple[str, float, float, int]]:
    """Return mode, median seconds, share of the exact masks found and number of masks, exact first."""
    rows = results["everything"]["recall"]["rows"]
    wanted = sum(row["exact"]["masks"] for row in rows)
    return [
        (
            mode,
            statistics.median(row[mode]["seconds"] for row in rows),
            sum(row[mode]["found"] for row in rows) / wanted,
            sum(row[mode]["masks"] for row in rows),
        )
        for mode in _MODES
    ]


def _axes(rows: list[dict[str, Any]]) -> tuple[list[int], list[float]]:
    return sorted({row["grid"] for row in rows}), sorted({row["megapixels"] for row in rows})


def where(part: dict[str, Any]) -> str:
    """Return the machine, the commit and the versions of one part of a result."""
    environment = part["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version)
    where = f"{environment['processor']}, {environment['cores']} cores, commit {environment['commit']}"
    return f"{where}, {part['threads']} threads, {versions}"
