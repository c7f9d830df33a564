"""The summary of an evaluation, as JSON values and as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mobilesam.bench.timing import quartiles
from mobilesam.config import MULTIMASK
from mobilesam.evaluate.journal import Record
from mobilesam.evaluate.metrics import calibration, calibration_error, number_of_clicks, size_class
from mobilesam.evaluate.runner import Settings

CLICK_TARGETS = {"85": 0.85, "90": 0.90}  # IoUs by their names in the report
SIZE_CLASSES = ("small", "medium", "large")
STAGES = ("read", "resize", "set_image", "encode", "decode", "predict", "upsample")

Summaries = Mapping[str, Mapping[str, Any]]


def summarize(records: Sequence[Record], settings: Settings) -> dict[str, Any]:
    """Return the report of a run as JSON values; means and medians of IoUs and seconds are not rounded."""
    instances = [(record, instance) for record in records for instance in record["instances"]]
    seconds: dict[str, list[float]] = {}
    for record in records:
        for stage, values in record["seconds"].items():
            seconds.setdefault(stage, []).extend(values)
    prompts = {}
    for kind in settings.prompts:
        results = [instance[kind] for _, instance in instances]
        about = _clicks(results, settings.max_clicks) if kind == "clicks" else _single(results)
        prompts[kind] = _groups(instances, kind) | about
    return {
        "images": len(records),
        "instances": len(instances),
        "unreadable": [
            {"file_name": record["file_name"], "reason": record["error"]} for record in records if record["error"]
        ],
        "skipped": [{"file_name": record["file_name"], **entry} for record in records for entry in record["skipped"]],
        "prompts": prompts,
        "seconds": {stage: quartiles(seconds[stage]) for stage in sorted(seconds, key=STAGES.index)},
    }


def final_iou(result: Record) -> float:
    """Return the IoU of one prompt, for clicks that after the last one."""
    return float(result["iou"] if "iou" in result else result["ious"][-1])


def ious_by_click(results: Iterable[Record], max_clicks: int) -> list[list[float]]:
    """Return ``max_clicks`` IoUs of each instance; one that stopped early keeps its last IoU, as its mask is kept."""
    return [ious + [ious[-1]] * (max_clicks - len(ious)) for ious in (result["ious"] for result in results)]


def to_markdown(summary: Mapping[str, Any]) -> str:
    """Return the report as Markdown: accuracy, then clicks, calibration and time, as far as they were measured."""
    unreadable, skipped = len(summary["unreadable"]), len(summary["skipped"])
    first = f"{summary['instances']} instances on {summary['images'] - unreadable} images"
    if unreadable or skipped:
        first += f"; {unreadable} images and {skipped} annotations could not be used"
    parts, prompts = [first], summary["prompts"]
    if summary["instances"]:
        parts.append(accuracy_table({"": summary}))
        if "clicks" in prompts:
            parts.append(clicks_table({"": summary}))
        parts += [calibration_table(prompts[kind], kind) for kind in prompts if kind != "clicks"]
    if summary["seconds"]:
        parts.append(seconds_table({"": summary}))
    return "\n\n".join(parts) + "\n"


def accuracy_table(summaries: Summaries) -> str:
    """Return mean IoUs in one row for each run and kind of prompt; the runs are named by the keys."""
    first = next(iter(summaries.values()))
    domains = list(next(iter(first["prompts"].values()))["by_domain"])
    rows = []
    for name, summary in summaries.items():
        for kind, results in summary["prompts"].items():
            groups = [results["by_size"].get(size) for size in SIZE_CLASSES]
            groups += [results["by_domain"].get(domain) for domain in domains]
            numbers = [results["mean_iou"], *(group and group["mean_iou"] for group in groups)]
            numbers += [results.get("boundary_iou"), results.get("oracle_iou")]
            rows.append([f"{name} {kind}".strip(), str(results["instances"]), *map(_number, numbers)])
    return table(["prompt", "n", "mIoU", *SIZE_CLASSES, *domains, "boundary", "best of 3"], rows)


def clicks_table(summaries: Summaries) -> str:
    """Return the mean number of clicks to each target IoU and the share of instances that reached it."""
    head = ["clicks", *(f"NoC@{name}" for name in CLICK_TARGETS), *(f"reached {name} %" for name in CLICK_TARGETS)]
    rows = []
    for name, summary in summaries.items():
        results = summary["prompts"]["clicks"]
        curve = results["iou_by_click"]
        shown = [curve[min(number, len(curve)) - 1] for number in (1, 2, 3, 5)] + [curve[-1]]
        rows.append(
            [name or f"up to {len(curve)}"]
            + [f"{results['noc'][target]:.2f}" for target in CLICK_TARGETS]
            + [f"{100 * results['reached'][target]:.0f} %" for target in CLICK_TARGETS]
            + [", ".join(map(_number, shown))]
        )
    return table([*head, "after 1, 2, 3, 5, all"], rows)


def calibration_table(results: Mapping[str, Any], kind: str) -> str:
    """Return the mean predicted and true IoU by predicted IoU."""
    about = results["calibration"]
    rows = [
        [f"{low:.1f}-{high:.1f}", str(count), _number(predicted), _number(true)]
        for low, high, count, predicted, true in about["bins"]
    ]
    rows.append(["all", str(results["instances"]), _number(about["mean_predicted"]), _number(results["mean_iou"])])
    return table([f"{kind}: predicted IoU", "n", "mean predicted", "mean true"], rows)


def seconds_table(summaries: Summaries) -> str:
    """Return the median, quartiles and sum of each stage, and the sum of all."""
    rows = []
    for name, summary in summaries.items():
        for stage, taken in summary["seconds"].items():
            middle = f"{1000 * taken['q1']:.1f}-{1000 * taken['q3']:.1f}"
            numbers = [str(taken["calls"]), f"{1000 * taken['median']:.1f}", middle, f"{taken['total']:.1f}"]
            rows.append([f"{name} {stage}".strip(), *numbers])
        total = sum(taken["total"] for taken in summary["seconds"].values())
        rows.append([f"{name} all".strip(), "", "", "", f"{total:.1f}"])
    return table(["stage", "calls", "median ms", "quartiles ms", "total s"], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def _groups(instances: Sequence[tuple[Record, Record]], kind: str) -> dict[str, Any]:
    ious = [final_iou(instance[kind]) for _, instance in instances]

    def by(names: Sequence[str | None], order: Iterable[str]) -> dict[str, Any]:
        members = {name: [iou for iou, own in zip(ious, names, strict=True) if own == name] for name in order}
        return {name: {"instances": len(own), "mean_iou": _mean(own)} for name, own in members.items() if own}

    domains = [record["domain"] for record, _ in instances]
    return {
        "instances": len(instances),
        "mean_iou": _mean(ious),
        "by_size": by([size_class(instance["area"]) for _, instance in instances], SIZE_CLASSES),
        "by_domain": by(domains, sorted({*domains} - {None})),
    }


def _single(results: Sequence[Record]) -> dict[str, Any]:
    predicted = [result["predicted"][result["chosen"]] for result in results]
    bins = calibration(predicted, [result["iou"] for result in results])
    complete = bool(results) and all(result["ious"][index] is not None for result in results for index in MULTIMASK)
    # Rows of (predicted IoU, IoU) of the candidate masks.
    candidates = [
        [(float(result["predicted"][index]), float(result["ious"][index])) for index in MULTIMASK]
        for result in results
        if complete
    ]
    return {
        "boundary_iou": _mean(result["boundary_iou"] for result in results),
        "oracle_iou": _mean(max(iou for _, iou in row) for row in candidates),
        "ranked_iou": _mean(max(row, key=lambda mask: mask[0])[1] for row in candidates),
        "by_token": [
            _mean(values) if None not in values else None
            for values in zip(*(result["ious"] for result in results), strict=True)
        ],
        "calibration": {
            "mean_predicted": _mean(predicted),
            "error": calibration_error(bins),
            "bins": [list(entry) for entry in bins],
        },
    }


def _clicks(results: Sequence[Record], max_clicks: int) -> dict[str, Any]:
    series = [result["ious"] for result in results]
    return {
        "noc": {
            name: _mean(number_of_clicks(ious, target, max_clicks) for ious in series)
            for name, target in CLICK_TARGETS.items()
        },
        "reached": {name: _mean(max(ious) >= target for ious in series) for name, target in CLICK_TARGETS.items()},
        "iou_by_click": [_mean(step) for step in zip(*ious_by_click(results, max_clicks), strict=True)],
    }


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return statistics.fmean(listed) if listed else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
