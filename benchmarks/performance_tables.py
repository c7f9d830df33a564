"""The tables of docs/performance.md on time and memory, and the table of the README."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.packages import OPENVINO, OPENVINO_BFLOAT16, OURS, OURS_ONNX
from benchmarks.tables import MACHINE, Results, conditions, mib, ms, recall_rows, rows_table, where
from mobilesam.automatic.exploration import SHARE
from mobilesam.evaluate.report import table

_BACKENDS = {
    OURS: "PyTorch",
    OURS_ONNX: "ONNX Runtime",
    OPENVINO: "OpenVINO",
    OPENVINO_BFLOAT16: "OpenVINO, bfloat16",
}
# Floating-point operations: of an encode, and of a point in the split decoder, which upscales the covered part alone.
GFLOP = {"encode": 72.35, "score": 0.822, "upscale": 0.822}
_TASKS = {
    "set_image": "set_image",
    "click": "predict, one point, three masks",
    "clicks": "the same, one of {count} in a row",
    "refine": "predict, two points and the last mask",
    "boxes": "{count} boxes at once, one mask each",
    "points": "{count} points at once, three masks each",
    "everything": "everything mode, {points_per_side} x {points_per_side} points",
    "load": "loaded",
}
_HEADLINES = {
    "set_image": "encode an image (`set_image`), ms",
    "click": "then one click, three masks, ms",
    "boxes": "{count} boxes at once, ms",
    "points": "{count} points at once, three masks each, ms",
    "everything": "everything mode, {points_per_side} x {points_per_side} points, ms",
}


def headline(results: Results) -> str:
    """Return times and memory of the two packages, and their accuracy on the same objects."""
    side = results["side_by_side"]
    tasks = {task["task"]: task for task in side["tasks"]}
    package, reference = OURS_ONNX, side["order"][-1]  # the default on a CPU, and the reference
    rows = []
    for name, label in _HEADLINES.items():
        task, ours = tasks[name], tasks[name]["packages"][package]
        times = [f"{1000 * seconds:.0f}" for seconds in (ours["seconds"], task["reference"])]
        rows.append([label.format(**task["arguments"]), *times, f"{ours['ratio']:.1f} times faster"])
    peaks = [side["peak_bytes"][name]["points"] for name in (package, reference)]
    rows.append(
        ["memory at its peak, those points, MiB", *map(mib, peaks), f"{peaks[1] / peaks[0]:.1f} times less"],
    )
    summaries = [results[f"eval_{name}"]["summary"] for name in ("mobilesam", "reference")]
    for kind, label in (("box", "a box"), ("point", "a point, best scored of three")):
        ious = [f"{summary['prompts'][kind]['mean_iou']:.3f}" for summary in summaries]
        rows.append([f"mean IoU, {label}", *ious, f"{summaries[0]['instances']} objects"])
    chosen = results["chooser"]["commercial"]["test"]["learned"]
    rows.append(["mean IoU, a point, `predict_one`", f"{chosen:.3f}", "", "the same objects"])
    return table(["", "mobilesam", "mobilesam-mirror", ""], rows)


def side_by_side(results: Results) -> str:
    *ours, _ = results["side_by_side"]["order"]
    head = ["task", "mobilesam-mirror ms", *(f"{_BACKENDS[package]} ms: times faster (quartiles)" for package in ours)]
    rows = []
    for task in results["side_by_side"]["tasks"]:
        cells = [_TASKS[task["task"]].format(**task["arguments"]), ms(task["reference"])]
        for each in (task["packages"][package] for package in ours):
            cells.append(f"{ms(each['seconds'])}: " + "{ratio:.2f} ({ratio_q1:.2f}-{ratio_q3:.2f})".format_map(each))
        rows.append([*cells, str(len(task["turns"]))])
    return table([*head, "turns"], rows)


def rivals(results: Results) -> str:
    """Return the times of other programs, how many times faster each is than the reference, and the IoU of its mask."""
    result = results["rivals"]
    encode, click = result["tasks"]
    *others, reference = result["order"]
    head = ["", "precision", "set_image ms: times faster (range)", "one click ms: times faster (range)"]
    rows = []
    for package in (reference, *others):
        about, cells = result["click"][package], []
        for task in (encode, click):
            cells.append(ms(task["reference"]) if package == reference else _with_range(task, result["order"], package))
        rows.append([package, about["precision"], *cells, str(about["masks"]), f"{about['iou']:.3f}"])
    load = ", ".join(f"{value:.1f}" for value in result["load"])
    turns = f"{len(encode['turns'])} and {len(click['turns'])} turns"
    form = (
        f"- {MACHINE}, {{threads}} threads, image: {{image}}, {turns}, load average at the end {load}\n- {{versions}}"
    )
    listed = table([*head, "masks at full size", "IoU with the reference's best mask"], rows)
    return f"{listed}\n\n{conditions(result, form)}"


def _with_range(task: dict[str, Any], order: list[str], package: str) -> str:
    place = order.index(package)
    ratios = [turn[-1] / turn[place] for turn in task["turns"]]
    middle = task["packages"][package]
    return f"{ms(middle['seconds'])}: {middle['ratio']:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def share_of_peak(results: Results) -> str:
    """Return the GFLOP/s of the network, and their share of what large matrix products reach."""
    side = results["side_by_side"]
    peak = side["environment"]["gemm_gflops"][str(side["threads"])]
    prompt = GFLOP["score"] + GFLOP["upscale"] * side["covered"]
    *ours, _ = side["order"]
    rows = []
    for task in side["tasks"]:
        points = task["arguments"].get("points_per_side", 0) ** 2
        works = {"set_image": GFLOP["encode"], "clicks": prompt, "everything": GFLOP["encode"] + points * prompt}
        if work := works.get(task["task"]):
            seconds = [task["packages"][package]["seconds"] for package in ours] + [task["reference"]]
            reached = [f"{work / each:.0f}: {100 * work / each / peak:.0f} %" for each in seconds]
            rows.append([_TASKS[task["task"]].format(**task["arguments"]), f"{work:.1f}", *reached])
    return table(["", "GFLOP", *(_BACKENDS[package] for package in ours), "mobilesam-mirror, of the same work"], rows)


def memory(results: Results) -> str:
    side = results["side_by_side"]
    *ours, reference = side["order"]
    arguments = {task["task"]: task["arguments"] for task in side["tasks"]}
    head = ["peak of a fresh process", "mobilesam-mirror MiB"]
    head += [f"{_BACKENDS[package]} MiB: times less" for package in ours]
    rows = []
    for task, theirs in side["peak_bytes"][reference].items():
        peaks = (side["peak_bytes"][package][task] for package in ours)
        cells = [f"{mib(peak)}: {theirs / peak:.2f}" for peak in peaks]
        rows.append([_TASKS[task].format(**arguments.get(task, {})), mib(theirs), *cells])
    return table(head, rows)


def conditions_side_by_side(results: Results) -> str:
    return conditions(results["side_by_side"], f"- {MACHINE}, {{threads}} threads, image: {{image}}\n- {{versions}}")


def size_curve(results: Results) -> str:
    return _curve(results, "size", "megapixels", "set_image", "click")


def prompts_curve(results: Results) -> str:
    return _curve(results, "prompts", "prompts", "boxes")


def threads_curve(results: Results) -> str:
    return _curve(results, "threads", "threads", "set_image", "click")


def _curve(results: Results, name: str, unit: str, *tasks: str) -> str:
    columns: list[Any] = [(unit, f"{{{unit}}}")]
    for task in tasks:
        columns.append(
            (f"{'boxes at once' if task == 'boxes' else task} ms", lambda row, t=task: ms(row[t]["seconds"]))
        )
        columns.append(("peak MiB", lambda row, t=task: mib(row[t]["peak_bytes"])))
    return rows_table(results["cost_curves"]["curves"][name], *columns)


def conditions_curves(results: Results) -> str:
    return conditions(results["cost_curves"], MACHINE + ", {versions}")


def everything_side(results: Results) -> str:
    """Return time and memory against the reference, on one image."""
    return rows_table(
        results["everything"]["side"]["rows"],
        ("", "{name}"),
        ("s", "{seconds:.1f}"),
        ("times faster", "{times_faster:.1f}"),
        ("peak MiB", lambda row: mib(row["peak_bytes"])),
        ("masks", "{masks}"),
        ("of the reference's found at IoU 0.8", "{found}"),
    )


def everything_recall(results: Results) -> str:
    """Return what share of the exact mode's masks the others find, in what time."""
    return _recall(results, "recall")


def everything_held_back(results: Results) -> str:
    """Return the same for the photos held back."""
    return _recall(results, "held_back")


def _recall(results: Results, part: str) -> str:
    rows = recall_rows(results, part)
    columns = [("mode", "{mode}"), ("median s a photo", "{seconds:.1f}"), ("mean", "{mean:.1f}")]
    columns += [(f"of {rows[0]['masks']} exact masks found", "{share:.3f}"), ("masks in all", "{masks}")]
    return rows_table(rows, *columns)


def expected_masks(results: Results) -> str:
    """Return how many masks the modes find with how many points, on images that the expectation has not seen."""
    labels = {"cross-validated": "other images", "domain left out": "other domains"}
    rows = [
        [
            *(mode, labels[name], domain.replace("_", " "), str(row["photos"])),
            *(f"{row['points']:.0f}", f"{row['learned']:.3f}", f"{SHARE[mode] * 1024:.0f}", f"{row['rule']:.3f}"),
        ]
        for mode in ("fast", "balanced")
        for name in ("cross-validated", "domain left out")
        for domain, row in results["expected_masks"][name][mode].items()
    ]
    head = ["mode", "learned on", "measured on", "photos", "points", "found", "points of the rule", "found by it"]
    return table(head, rows)


def everything_memory(results: Results) -> str:
    """Return peak memory against the size of the image."""
    return rows_table(
        results["everything"]["memory"]["rows"],
        ("megapixels", "{megapixels:g}"),
        ("", "{run}"),
        ("peak MiB", lambda row: mib(row["peak_bytes"])),
        ("s", "{seconds:.1f}"),
    )


def everything_curve(results: Results) -> str:
    """Return the time of an exact run against the points per side and the size of the image."""
    rows = results["everything"]["curve"]["rows"]
    sizes = sorted({row["megapixels"] for row in rows})
    seconds = {(row["megapixels"], row["points_per_side"]): row["seconds"] for row in rows}
    cells = [
        [f"{points} x {points}", *(f"{seconds[size, points]:.1f}" for size in sizes)]
        for points in sorted({row["points_per_side"] for row in rows})
    ]
    return table(["points", *(f"{size:g} megapixels, s" for size in sizes)], cells)


def conditions_everything(results: Results) -> str:
    parts = results["everything"]
    return "\n".join(f"- {name}: {where(parts[name])}" for name in ("side", "recall", "held_back", "memory", "curve"))


def detections(results: Results) -> str:
    result = results["detections"]
    rows = []
    for row in result["rows"]:
        middle = statistics.median(row["ratios"])
        spread = f"{middle:.1f} ({row['ratios'][0]:.1f}-{row['ratios'][-1]:.1f})"
        rows.append([row["name"], f"{row['seconds'] / result['images']:.2f}", spread])
    return table(["", "s an image", "times the plain loop, median of the parts (range)"], rows)


def conditions_detections(results: Results) -> str:
    result = results["detections"]
    return conditions(
        result,
        f"- {MACHINE}, {{threads}} threads, {{versions}}; the reference with torch {result['reference']['torch']}",
    )
