"""The charts of docs/performance.md and docs/accuracy.md, drawn with matplotlib as SVG."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from benchmarks.tables import Results, recall_rows

mpl.use("svg")
from matplotlib import pyplot as plt

_STYLE = {
    "figure.figsize": (6.4, 3.8),
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e5ea",
    "legend.frameon": False,
    "svg.fonttype": "none",  # text as text
    "svg.hashsalt": "mobilesam",  # the same file from the same results
}
_COLORS = ("#0f766e", "#ca6217", "#5850b4")


def draw_charts(results: Results, folder: Path) -> None:
    """Write a file named after each chart into a folder."""
    charts = {
        "everything-cost": _cost,
        "everything-recall": _recall,
        "everything-points": _points,
        "confidence": _confidence,
    }
    for name, chart in charts.items():
        with plt.style.context(_STYLE):
            figure, axes = plt.subplots()
            chart(axes, results)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)


def _cost(axes: plt.Axes, results: Results) -> None:
    """Draw the time of an exact run against the number of points, a line for each image size."""
    rows = results["everything"]["curve"]["rows"]
    sizes = sorted({row["megapixels"] for row in rows}, reverse=True)
    for size, color in zip(sizes, _COLORS, strict=False):
        line = [(row["points_per_side"] ** 2, row["seconds"]) for row in rows if row["megapixels"] == size]
        axes.plot(*zip(*line, strict=True), "o-", color=color, label=f"{size:g} megapixels")
    points = sorted({row["points_per_side"] for row in rows})[1:]
    axes.set_xticks([n**2 for n in points], [f"{n**2}\n{n} x {n}" for n in points])
    axes.set(title="Time of an exact run", xlabel="points", ylabel="seconds", ylim=(0, None))
    axes.legend(title="image")


def _recall(axes: plt.Axes, results: Results) -> None:
    """Draw each mode at its time and at the share of the exact masks that it finds."""
    rows = [row for row in recall_rows(results) if "rule" not in row["mode"]]
    for row, color in zip(rows, _COLORS, strict=True):
        axes.plot(row["seconds"], row["share"], "o", color=color, markersize=9)
        label = f"{row['mode']}: {row['share']:.0%} in {row['seconds']:.1f} s"
        axes.annotate(label, (row["seconds"], row["share"]), (0, -18), textcoords="offset points", ha="center")
    axes.set(title="Masks of the exact mode found by each mode", xlabel="median seconds a photo")
    axes.set(ylabel="share of the exact mode's masks", xlim=(0, 1.2 * rows[0]["seconds"]), ylim=(0, 1.08))
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))


def _points(axes: plt.Axes, results: Results) -> None:
    """Draw the share of the exact masks found against the points decoded of each photo, and where the modes end."""
    learned = results["expected_masks"]
    labels = {"best": "if the masks were known", "learned": "learned", "rule": "rule"}
    for (name, label), color in zip(labels.items(), reversed(_COLORS), strict=True):
        line = [(row["points"], row[name]) for row in learned["curve"]]
        axes.plot(*zip(*line, strict=True), "o-", color=color, label=label, markersize=4)
    for mode in ("fast", "balanced"):
        row = learned["cross-validated"][mode]["all"]
        axes.plot(row["points"], row["learned"], "D", color=_COLORS[1])
        axes.annotate(mode, (row["points"], row["learned"]), (4, 6), textcoords="offset points")
    axes.set(title="Masks of the exact mode found, of 1024 points", xlabel="points decoded", ylabel="share found")
    axes.set(xlim=(0, None), ylim=(0, 1.08))
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    axes.legend(loc="lower right")


def _confidence(axes: plt.Axes, results: Results) -> None:
    """Draw the mean IoU against the confidence, and against the predicted IoU, in ten bins each."""
    axes.plot([0, 1], [0, 1], "--", color="#9aa3af", label="as large as it says")
    learned = results["chooser"]["commercial"]["test"]["calibration"]
    predicted = results["eval_mobilesam"]["summary"]["prompts"]["point"]["calibration"]["bins"]
    lines = (
        ("confidence", [(row["confidence"], row["iou"], row["n"]) for row in learned]),
        ("predicted IoU", [(mean_predicted, mean_true, count) for *_, count, mean_predicted, mean_true in predicted]),
    )
    for (label, line), color in zip(lines, _COLORS, strict=False):
        places, ious, counts = zip(*[row for row in line if row[2]], strict=True)
        axes.plot(places, ious, "-", color=color, label=label)
        axes.scatter(places, ious, [12 + count / 2 for count in counts], color=color)
    axes.set(title="One click: the IoU to expect, and the IoU", xlabel="confidence or predicted IoU", ylabel="mean IoU")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend()
