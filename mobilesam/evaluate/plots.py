"""Plots of an evaluation: the distribution of IoUs, the IoU after each click, the instances with the lowest IoUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilesam.arrays import BoolArray, UInt8Array
from mobilesam.bench.figures import COLORS, INK, MUTED, figure, plain
from mobilesam.evaluate.coco import AnnotatedImage, Dataset, read_instances
from mobilesam.evaluate.evaluation import Evaluation
from mobilesam.evaluate.journal import Record
from mobilesam.evaluate.metrics import tight_box
from mobilesam.evaluate.report import CLICK_TARGETS, final_iou, ious_by_click
from mobilesam.formats.segmentation import decode_segmentation
from mobilesam.image.read import read_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

BINS = 20
LOWEST = 12
TILE_RATIO = 4 / 3  # width to height of a tile


def write_plots(out: Path, evaluation: Evaluation, dataset: Dataset) -> None:
    """Write every plot of an evaluation with at least one instance into a folder, as SVG and PNG.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    kinds = evaluation.settings.prompts
    iou_histograms(out / "iou-histogram", evaluation.records, kinds)
    if "clicks" in kinds:
        click_curve(out / "clicks", evaluation.records, evaluation.settings.max_clicks)
    for kind in kinds:
        lowest_ious(out / f"worst-{kind}", evaluation.records, dataset, kind)


def iou_histograms(stem: Path, records: Sequence[Record], kinds: Sequence[str]) -> None:
    """Plot the share of instances in each twentieth of IoU, one panel for each kind of prompt."""
    with figure(stem, 6.4, 2.6 * len(kinds)) as drawn:
        for panel, kind, color in zip(drawn.subplots(len(kinds), squeeze=False).flat, kinds, COLORS, strict=False):
            ious = np.array([final_iou(instance[kind]) for record in records for instance in record["instances"]])
            panel.hist(
                ious, bins=BINS, range=(0, 1), weights=np.full(len(ious), 100 / len(ious)), color=color, rwidth=0.92
            )
            panel.axvline(ious.mean(), color=INK, linewidth=1.5, label=f"mean {ious.mean():.3f}")
            panel.axvline(np.median(ious), color=INK, linewidth=1.5, ls=":", label=f"median {np.median(ious):.3f}")
            panel.set(title=f"Prompt: {kind} ({len(ious)} instances)", xlabel="IoU", ylabel="% of instances")
            panel.set(xlim=(0, 1))
            panel.grid(visible=False, axis="x")
            panel.legend(loc="upper left")


def click_curve(stem: Path, records: Sequence[Record], max_clicks: int) -> None:
    """Plot the mean IoU after each click, with the middle half of the instances as a band."""
    ious = np.array(ious_by_click((each["clicks"] for record in records for each in record["instances"]), max_clicks))
    steps, mean = np.arange(1, max_clicks + 1), ious.mean(axis=0)
    with figure(stem) as drawn:
        from matplotlib.patheffects import withStroke

        axes = drawn.subplots()
        axes.fill_between(steps, *np.percentile(ious, [25, 75], axis=0), alpha=0.18, label="middle half", linewidth=0)
        axes.plot(steps, mean, "o-", color=COLORS[0], linewidth=2, markersize=5, label="mean")
        for target in CLICK_TARGETS.values():
            axes.axhline(target, color=MUTED, linewidth=1, ls="--")
            axes.annotate(f"{target:.2f}", (1.01, target), xycoords=("axes fraction", "data"), va="center",
                          color=MUTED, fontsize=8)  # fmt: skip
        for step in sorted({1, min(3, max_clicks), max_clicks}):
            place = (step, mean[step - 1])
            axes.annotate(f"{mean[step - 1]:.3f}", place, (0, -16), textcoords="offset points", ha="center", color=INK,
                          path_effects=[withStroke(linewidth=3, foreground="white")])  # fmt: skip
        axes.set(title=f"IoU after each click ({len(ious)} instances)", ylabel="IoU", xticks=steps)
        axes.set(xlim=(0.5, max_clicks + 0.5), ylim=(0, 1.02))
        axes.set_xlabel("clicks (an instance that reached the stopping IoU keeps its last value)")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="lower right")


def lowest_ious(
    stem: Path, records: Sequence[Record], dataset: Dataset, kind: str, count: int = LOWEST, columns: int = 3
) -> None:
    """Draw the ``count`` instances with the lowest IoUs: predicted mask, ground truth and prompt."""
    cases = [
        (final_iou(instance[kind]), record, place)
        for record in records
        for place, instance in enumerate(record["instances"])
    ]
    worst = sorted(cases, key=lambda case: (case[0], case[1]["file_name"], case[2]))[:count]
    images = {entry.file_name: entry for entry in dataset.images}
    rows = math.ceil(len(worst) / columns)
    with figure(stem, 4 * columns, 3.6 * rows + 0.6) as drawn:
        title = f"The {len(worst)} lowest IoUs of {len(cases)}, prompt: {kind}. "
        drawn.suptitle(title + "Blue: predicted mask. White line: ground truth.", x=0.01, ha="left", fontsize=13)
        panels = drawn.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.set_axis_off()
        for panel, (_, record, place) in zip(panels, worst, strict=False):
            instance = record["instances"][place]
            image, truth = image_and_truth(images[record["file_name"]], place, dataset)
            tile(panel, image, truth, instance[kind])
            caption(panel, record["file_name"], instance)


def image_and_truth(entry: AnnotatedImage, place: int, dataset: Dataset) -> tuple[UInt8Array, BoolArray]:
    """Return an image and the annotated mask of one of its usable objects."""
    image = read_image(entry.path)
    return image, read_instances(entry, (image.shape[0], image.shape[1]), dataset.categories)[0][place].mask


def caption(axes: Axes, file_name: str, instance: Record, length: int = 54) -> Text:
    """Write an object's category, annotation and image below a tile, in at most ``length`` characters."""
    about = f"{instance['category']} {instance['annotation_id']}, {file_name}".strip()
    return axes.text(0, -0.02, plain(about, length), transform=axes.transAxes, va="top", fontsize=9, color=MUTED,
                     parse_math=False)  # fmt: skip


def predicted_mask(result: Record, truth: BoolArray) -> BoolArray:
    """Return the predicted mask of a result, in the frame of the annotated one."""
    hw = (truth.shape[0], truth.shape[1])
    return decode_segmentation({"size": list(hw), "counts": result["rle"]}, hw)


def tile(
    axes: Axes, image: UInt8Array, truth: BoolArray, result: Record, *, region: BoolArray | None = None, label: str = ""
) -> None:
    """Draw the part of an image around an object, with its outline, the prompt and the predicted mask.

    region: (H, W) bool, what has to be visible; by default both masks.
    label: placed before the IoUs in the title.
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    prediction = predicted_mask(result, truth)
    left, top, right, bottom = _window(truth | prediction if region is None else region)
    crop, extent = np.s_[top:bottom, left:right], (left, right, bottom, top)
    axes.imshow(image[crop], extent=extent)
    fill = np.multiply.outer(prediction[crop], np.array([61, 158, 255, 130], np.uint8))
    axes.imshow(fill, extent=extent, interpolation="nearest")
    edge = [withStroke(linewidth=3.5, foreground=INK)]
    padded = np.pad(truth[crop], 1)  # so that the line is closed at the border
    x, y = np.arange(left - 0.5, right + 1), np.arange(top - 0.5, bottom + 1)
    axes.contour(x, y, padded, [0.5], colors="white", linewidths=1.8).set(path_effects=edge)
    for x1, y1, x2, y2 in [result["box"]] if "box" in result else []:
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="white", linewidth=1.2, ls="--"))
    for x, y, foreground in result.get("points", []):
        color, marker = ("#18a058", "P") if foreground else ("#dc323c", "X")
        axes.plot(x + 0.5, y + 0.5, marker, color=color, markeredgecolor="white", markersize=9)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    predicted = f", predicted {result['predicted'][result['chosen']]:.2f}" if "predicted" in result else ""
    axes.set_title(f"{label}IoU {final_iou(result):.2f}{predicted}", pad=4)


def _window(region: BoolArray) -> tuple[int, int, int, int]:
    """Return x1 y1 x2 y2 around a region and its surroundings, with the shape of a tile where the image allows it."""
    height, width = region.shape
    left, top, right, bottom = tight_box(region).astype(int).tolist()
    side = max(96, 1.6 * (bottom - top), 1.6 * (right - left) / TILE_RATIO)
    reach_y, reach_x = round(side / 2), round(side * TILE_RATIO / 2)
    x, y = (left + right) // 2, (top + bottom) // 2
    return max(0, x - reach_x), max(0, y - reach_y), min(width, x + reach_x), min(height, y + reach_y)
