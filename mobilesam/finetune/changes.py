"""Plots of a training run: its course, and the objects that changed most, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam.bench.figures import COLORS, INK, MUTED, figure
from mobilesam.evaluate import Dataset
from mobilesam.evaluate.plots import caption, image_and_truth, predicted_mask, tile
from mobilesam.finetune.comparison import ComparedObject, Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 10  # objects with the largest gain, and with the largest loss
_VISIBLE = 0.005  # smallest change of IoU that is drawn
_TOP = 0.7  # inches above the tiles
_GAP = 0.06  # between gains and losses, in widths of a tile

# Measurements of a row of the history, their labels, and how they are drawn: readable without color too.
_LINES = (
    ("box", "box", "o-"),
    ("point", "one click", "s--"),
    ("best", "one click, best of three masks", "^:"),
)


def can_draw_course(history: Sequence[Mapping[str, float]]) -> bool:
    """Return whether a history has something to draw."""
    return any(name in row for row in history for name in ("loss", "box"))


def draw_course(stem: Path, history: Sequence[Mapping[str, float]], chosen: int | None) -> None:
    """Plot the loss, and the IoUs on held-back images, over the steps.

    history: see :func:`mobilesam.finetune.report.write_report`.
    chosen: the step whose weights are used, or None to mark none.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    measured = [row for row in history if "box" in row]
    trained = [row for row in history if "loss" in row]
    heights = [3.0] * bool(measured) + [2.0] * bool(trained)
    with figure(stem, 6.4, 0.7 + sum(heights)) as drawn:
        axes = list(drawn.subplots(len(heights), squeeze=False, sharex=True, height_ratios=heights)[:, 0])
        for panel in axes:
            panel.grid(visible=False, axis="x")
        if measured:
            _draw_ious(axes[0], measured)
        if trained:
            axes[-1].plot([row["step"] for row in trained], [row["loss"] for row in trained], "o-", color=INK,
                          linewidth=1.5, markersize=4)  # fmt: skip
            axes[-1].set(title="Training loss (mean since the measurement before)", ylabel="loss")
        axes[-1].set_xlabel("step")
        if chosen is not None:
            _mark(axes, chosen, max(row["step"] for row in history))


def _draw_ious(axes: Axes, measured: Sequence[Mapping[str, float]]) -> None:
    steps = [row["step"] for row in measured]
    for (name, label, style), color in zip(_LINES, COLORS, strict=False):
        axes.plot(steps, [row[name] for row in measured], style, color=color, linewidth=2, markersize=5, label=label)
    axes.set_title("Mean IoU on the held-back images", pad=27)
    axes.set_ylabel("IoU")
    axes.margins(y=0.12)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(_LINES), borderaxespad=0.3, borderpad=0)


def _mark(panels: Sequence[Axes], chosen: int, last: float) -> None:
    for panel in panels:
        panel.axvline(chosen, color=MUTED, linewidth=1.2, ls="--", zorder=0.5)
    left = chosen > last / 2  # of the line is more room
    panels[0].annotate(f"step {chosen} is used", (chosen, 1), (-5 if left else 5, -2), va="top", fontsize=9,
                       xycoords=("data", "axes fraction"), textcoords="offset points", color=MUTED,
                       ha="right" if left else "left")  # fmt: skip


def prompt_of_changes(comparison: Comparison) -> str:
    """Return the kind of prompt whose changes are drawn: one click, or what was measured instead."""
    return next(kind for kind in ("point", "box", "clicks") if kind in comparison.kinds)


def largest_changes(comparison: Comparison) -> tuple[list[ComparedObject], list[ComparedObject]]:
    """Return the objects with the largest gain and those with the largest loss of IoU, at least 0.005."""
    kind = prompt_of_changes(comparison)

    def gain(compared: ComparedObject) -> float:
        before, after = compared.ious(kind)
        return after - before

    order = sorted(comparison.objects, key=lambda each: (-gain(each), each.file_name, each.place))
    gains = [each for each in order if gain(each) >= _VISIBLE]
    losses = [each for each in reversed(order) if gain(each) <= -_VISIBLE]
    return gains[:MOST], losses[:MOST]


def draw_changes(stem: Path, comparison: Comparison, dataset: Dataset) -> None:
    """Draw the objects that changed most: predicted masks before and after, outline and prompt.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    kind = prompt_of_changes(comparison)
    sides = [(name, own) for name, own in zip(("gains", "losses"), largest_changes(comparison), strict=True) if own]
    rows, widths = max(len(own) for _, own in sides), [1.0, 1.0, *[_GAP, 1.0, 1.0] * (len(sides) - 1)]
    height = 3.0 * rows + _TOP
    with figure(stem, 3.3 * sum(widths), height) as drawn:
        layout: Any = drawn.get_layout_engine()
        layout.set(h_pad=0.13, rect=(0, 0, 1, 1 - _TOP / height))  # room for captions, and for headings
        prompt = {"point": "one click", "box": "box", "clicks": "clicks"}[kind]
        about = f"Prompt: {prompt}. Blue: predicted mask. White line: annotated outline."
        drawn.text(0.005, 1 - 0.1 / height, about, va="top", fontsize=12, color=MUTED)
        panels = drawn.subplots(rows, len(widths), squeeze=False, width_ratios=widths)
        for panel in panels.flat:
            panel.set_axis_off()
            panel.set_anchor("NW")
        for (name, own), left in zip(sides, (0, 3), strict=False):
            heading = f"{len(own)} largest {name} of IoU, of {len(comparison.objects)} objects"
            panels[0, left].annotate(heading, (0, 1), (0, 26), xycoords="axes fraction", textcoords="offset points",
                                     fontsize=13, weight="bold").set_in_layout(False)  # fmt: skip
            for row, compared in enumerate(own):
                _draw_pair(panels[row, left : left + 2].tolist(), compared, kind, dataset)


def _draw_pair(panels: Sequence[Axes], compared: ComparedObject, kind: str, dataset: Dataset) -> None:
    entry = next(entry for entry in dataset.images if entry.file_name == compared.file_name)
    image, truth = image_and_truth(entry, compared.place, dataset)
    results = {"before": compared.before[kind], "after": compared.after[kind]}
    region = truth.copy()
    for result in results.values():
        region |= predicted_mask(result, truth)
    for panel, (label, result) in zip(panels, results.items(), strict=True):
        tile(panel, image, truth, result, region=region, label=f"{label}: ")
    caption(panels[0], compared.file_name, compared.before, length=72).set_in_layout(False)  # it is as wide as both
