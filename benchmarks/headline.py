"""The table people choose by, in the README and on the first page of the documentation."""

from __future__ import annotations

from typing import Any

from mobilesam.evaluate.report import table

Results = Any  # the JSON files by name: benchmarks.render.Results
_TIMES = {
    "set_image": "encode an image (`set_image`), ms",
    "click": "then one click, three masks, ms",
    "boxes": "{count} boxes at once, ms",
    "points": "{count} points at once, three masks each, ms",
}


def headline(results: Results) -> str:
    """Times and memory of the two packages in turns, and their accuracy on the same objects."""
    side = results["side_by_side"]
    ours, theirs = (results[f"eval_{name}"]["summary"] for name in ("mobilesam", "reference"))
    tasks = {found["task"]: found for found in side["tasks"]}
    *_, package, reference = side["order"]  # of ours the last: what runs on a CPU by default
    rows = []
    for task, label in _TIMES.items():
        found = tasks[task]
        of_ours = found["packages"][package]
        times = [f"{1000 * seconds:.0f}" for seconds in (of_ours["seconds"], found["reference"])]
        rows.append([label.format(**found["arguments"]), *times, f"{of_ours['ratio']:.1f} times faster"])
    peaks = [side["peak_bytes"][name]["points"] / 2**20 for name in (package, reference)]
    numbers = [f"{peak:.0f}" for peak in peaks]
    rows.append(["memory at its peak, those points, MiB", *numbers, f"{peaks[1] / peaks[0]:.1f} times less"])
    for kind, label in (("box", "a box"), ("point", "a point, best scored of three")):
        values = [summary["prompts"][kind]["mean_iou"] for summary in (ours, theirs)]
        rows.append([f"mean IoU, {label}", *(f"{value:.3f}" for value in values), f"{ours['instances']} objects"])
    chosen = results["options"]["mean_iou"]["square/point/agreement"]["all"]
    rows.append(["mean IoU, a point, `predict_one`", f"{chosen:.3f}", "", "the same objects"])
    return table(["", "mobilesam", "mobilesam-mirror", ""], rows)
