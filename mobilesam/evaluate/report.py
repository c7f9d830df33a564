"""Numbers out of the records of a run, and the table people read."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mobilesam.bench.timing import quartiles
from mobilesam.config import MULTIMASK
from mobilesam.evaluate.journal import Record
from mobilesam.evaluate.metrics import calibration, calibration_error, number_of_clicks, size_class
from mobilesam.evaluate.runner import Settings

CLICK_TARGETS = (0.85, 0.90)
SIZE_CLASSES = ("small", "medium", "large")
STAGES = ("read", "resize", "set_image", "encode", "decode", "predict", "upsample")


def summarize(records: Sequence[Record], settings: Settings) -> dict[str, Any]:
    """Return the report of a run as JSON values; IoUs and seconds are unrounded means and medians."""
    instances = [(record, instance) for record in records for instance in record["instances"]]
    prompts: dict[str, Any] = {}
    for kind in settings.prompts:
        if kind == "clicks":
            prompts[kind] = _clicks(instances, settings.max_clicks)
        else:
            prompts[kind] = _single(instances, kind)
    return {
        "images": len(records),
        "instances": len(instances),
        "unreadable": [
            {"file_name": record["file_name"], "reason": record["error"]} for record in records if record["error"]
        ],
        "skipped": [{"file_name": record["file_name"], **entry} for record in records for entry in record["skipped"]],
        "prompts": prompts,
        "seconds": _seconds(records),
    }


def to_markdown(summary: Mapping[str, Any]) -> str:
    """Return the report as Markdown: accuracy, then clicks, calibration and time, as far as they were measured."""
    parts = [
        f"{summary['instances']} instances on {summary['images'] - len(summary['unreadable'])} images"
        + _left_out(summary)
    ]
    prompts: Mapping[str, Any] = summary["prompts"]
    if summary["instances"]:
        parts.append(accuracy_table({"": summary}))
        if "clicks" in prompts:
            parts.append(clicks_table({"": summary}))
        parts += [calibration_table(prompts[kind], kind) for kind in prompts if kind != "clicks"]
    if summary["seconds"]:
        parts.append(seconds_table({"": summary}))
    return "\n\n".join(parts) + "\n"


def accuracy_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return mean IoUs in one row for each run and kind of prompt; the runs are named by the keys."""
    first = next(iter(summaries.values()))
    domains = list(next(iter(first["prompts"].values()))["by_domain"])
    head = ["prompt", "n", "mIoU", "small", "medium", "large", *domains, "boundary", "best of 3"]
    rows = []
    for name, summary in summaries.items():
        for kind, found in summary["prompts"].items():
            groups = [found["by_size"].get(size) for size in SIZE_CLASSES]
            groups += [found["by_domain"].get(domain) for domain in domains]
            numbers = [found["mean_iou"], *(group and group["mean_iou"] for group in groups)]
            numbers += [found.get("boundary_iou"), found.get("oracle_iou")]
            rows.append([f"{name} {kind}".strip(), str(found["instances"]), *map(_number, numbers)])
    return table(head, rows)


def clicks_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the numbers of clicks and how many instances reached each target."""
    names = [str(round(100 * target)) for target in CLICK_TARGETS]
    head = [
        "clicks",
        *(f"NoC@{name}" for name in names),
        *(f"reached {name} %" for name in names),
        "after 1, 2, 3, 5, all",
    ]
    rows = []
    for name, summary in summaries.items():
        found = summary["prompts"]["clicks"]
        curve = found["iou_by_click"]
        shown = [curve[min(number, len(curve)) - 1] for number in (1, 2, 3, 5)] + [curve[-1]]
        rows.append(
            [name or f"up to {len(curve)}"]
            + [f"{found['noc'][target]:.2f}" for target in names]
            + [f"{100 * found['reached'][target]:.0f} %" for target in names]
            + [", ".join(map(_number, shown))]
        )
    return table(head, rows)


def calibration_table(found: Mapping[str, Any], kind: str) -> str:
    """Return the mean predicted and true IoU by predicted IoU."""
    rows = [
        [f"{low:.1f}-{high:.1f}", str(count), _number(predicted), _number(true)]
        for low, high, count, predicted, true in found["calibration"]["bins"]
    ]
    rows.append(
        ["all", str(found["instances"]), _number(found["calibration"]["mean_predicted"]), _number(found["mean_iou"])]
    )
    return table([f"{kind}: predicted IoU", "n", "mean predicted", "mean true"], rows)


def seconds_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the median, quartiles and sum of each stage, and the sum of all."""
    rows = []
    for name, summary in summaries.items():
        for stage, found in summary["seconds"].items():
            quartiles = f"{1000 * found['q1']:.1f}-{1000 * found['q3']:.1f}"
            rows.append(
                [
                    f"{name} {stage}".strip(),
                    str(found["calls"]),
                    f"{1000 * found['median']:.1f}",
                    quartiles,
                    f"{found['total']:.1f}",
                ]
            )
        total = sum(found["total"] for found in summary["seconds"].values())
        rows.append([f"{name} all".strip(), "", "", "", f"{total:.1f}"])
    return table(["stage", "calls", "median ms", "quartiles ms", "total s"], rows)


def _single(instances: Sequence[tuple[Record, Record]], kind: str) -> dict[str, Any]:
    answers = [instance[kind] for _, instance in instances]
    predicted = [answer["predicted"][answer["chosen"]] for answer in answers]
    bins = calibration(predicted, [answer["iou"] for answer in answers])
    multi = [[answer["ious"][token] for token in MULTIMASK] for answer in answers]
    complete = bool(multi) and all(value is not None for ious in multi for value in ious)
    return {
        **_groups(instances, lambda instance: float(instance[kind]["iou"])),
        "boundary_iou": _mean(answer["boundary_iou"] for answer in answers),
        "oracle_iou": _mean(map(max, multi)) if complete else None,
        "ranked_iou": _mean(_first_ranked(answer) for answer in answers) if complete else None,
        "by_token": [
            _mean(values) if all(value is not None for value in values) else None
            for values in zip(*(answer["ious"] for answer in answers), strict=True)
        ],
        "calibration": {
            "mean_predicted": _mean(predicted),
            "error": calibration_error(bins),
            "bins": [list(entry) for entry in bins],
        },
    }


def _first_ranked(answer: Record) -> float:
    """Return the IoU of the one of the three masks that the model ranks first."""
    return float(answer["ious"][max(MULTIMASK, key=lambda token: float(answer["predicted"][token]))])


def _clicks(instances: Sequence[tuple[Record, Record]], max_clicks: int) -> dict[str, Any]:
    series = [instance["clicks"]["ious"] for _, instance in instances]
    # A series that stopped early keeps its last IoU: that is the mask the person has.
    filled = [ious + [ious[-1]] * (max_clicks - len(ious)) for ious in series]
    names = {target: str(round(100 * target)) for target in CLICK_TARGETS}
    return {
        **_groups(instances, lambda instance: float(instance["clicks"]["ious"][-1])),
        "noc": {
            name: _mean(number_of_clicks(ious, target, max_clicks) for ious in series) for target, name in names.items()
        },
        "reached": {name: _mean(max(ious) >= target for ious in series) for target, name in names.items()},
        "iou_by_click": [_mean(step) for step in zip(*filled, strict=True)],
    }


def _groups(instances: Sequence[tuple[Record, Record]], value: Callable[[Record], float]) -> dict[str, Any]:
    sizes: dict[str, list[float]] = {size: [] for size in SIZE_CLASSES}
    domains: dict[str, list[float]] = {}
    for record, instance in instances:
        sizes[size_class(instance["area"])].append(value(instance))
        if record["domain"] is not None:
            domains.setdefault(record["domain"], []).append(value(instance))
    return {
        "instances": len(instances),
        "mean_iou": _mean(value(instance) for _, instance in instances),
        "by_size": {size: {"instances": len(ious), "mean_iou": _mean(ious)} for size, ious in sizes.items() if ious},
        "by_domain": {
            domain: {"instances": len(domains[domain]), "mean_iou": _mean(domains[domain])}
            for domain in sorted(domains)
        },
    }


def _seconds(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    stages: dict[str, list[float]] = {}
    for record in records:
        for stage, values in record["seconds"].items():
            stages.setdefault(stage, []).extend(values)
    return {stage: quartiles(stages[stage]) for stage in sorted(stages, key=STAGES.index)}


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _left_out(summary: Mapping[str, Any]) -> str:
    unreadable, skipped = len(summary["unreadable"]), len(summary["skipped"])
    return f"; {unreadable} images and {skipped} annotations could not be used" if unreadable or skipped else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
