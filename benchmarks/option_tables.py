"""The tables of what was tried: see benchmarks/options.py."""

from __future__ import annotations

import statistics
from typing import Any

from mobilesam.evaluate.report import table
from mobilesam.masks.selection import RULES

PARTS = ("all", "even", "odd", "not square")
Results = Any  # the JSON files by name: benchmarks.render.Results


def padding(results: Results) -> str:
    """Box by the single mask, point by the best scored of three, as the reference answers them."""
    names = {"square": "the padded square", "empty": "covered part, an empty square's embedding around it"}
    names["zeros"] = "covered part, zeros around it"
    rows = [
        [f"{kind} ({rule}): {label}", *_means(results, f"{name}/{kind}/{rule}")]
        for kind, rule in (("box", "single"), ("point", "score"), ("point", "agreement"))
        for name, label in names.items()
        if (kind, rule) != ("point", "agreement") or name != "zeros"
    ]
    return table(["", *PARTS], rows)


def padding_seconds(results: Results) -> str:
    found = results["options"]
    samples = {
        "the evaluation's images that are not square": [
            row for row in found["encode_seconds"] if row["hw"][0] != row["hw"][1]
        ],
        "16:9 crops": found["wide"],
    }
    rows = []
    for name, sample in samples.items():
        square, fast = (statistics.median(row[way] for row in sample) for way in ("square", "empty"))
        ratio = statistics.median(row["square"] / row["empty"] for row in sample)
        rows.append([name, str(len(sample)), f"{square:.3f}", f"{fast:.3f}", f"{ratio:.2f}"])
    return table(["images", "n", "padded square s", "fast padding s", "times faster"], rows)


def selection(results: Results) -> str:
    labels = {
        "score": "highest predicted IoU of the three (`score`, the reference's habit)",
        "single": "the single-mask answer (`single`)",
        "agreement": "the one the four agree with (`agreement`)",
        "best of three": "an oracle's best of three",
    }
    rows = [
        [f"{kind}: {label}", *_means(results, f"square/{kind}/{rule}")]
        for kind in ("point", "box")
        for rule, label in labels.items()
    ]
    return table(["", *PARTS], rows)


def selection_gap(results: Results) -> str:
    means = {rule: results["options"]["mean_iou"][f"square/point/{rule}"] for rule in (*RULES, "best of three")}
    rows = []
    for rule in ("single", "agreement"):
        closed = [
            (means[rule][part] - means["score"][part]) / (means["best of three"][part] - means["score"][part])
            for part in ("even", "odd", "all")
        ]
        rows.append([rule, *(f"{100 * share:.0f} %" for share in closed)])
    return table(["share of the gap closed", "even", "odd", "all"], rows)


def second_pass(results: Results) -> str:
    rows = []
    for kind, rule in (("box", "single"), ("point", "single"), ("point", "agreement")):
        rows.append([f"{kind}, {rule}: first pass", *_means(results, f"square/{kind}/{rule}")])
        rows.append([f"{kind}, {rule}: second pass", *_means(results, f"second pass/{kind}/{rule}")])
    return table(["", *PARTS], rows)


def torch_settings(results: Results) -> str:
    times = results["options"]["torch"]
    base = next(iter(times.values()))
    rows = []
    for name, seconds in times.items():
        ratio = statistics.median(one / other for one, other in zip(seconds, base, strict=True))
        rows.append([name, f"{statistics.median(seconds):.3f}", f"{ratio:.2f}"])
    return table(["encoder", "s", "of the time as it is"], rows)


def _means(results: Results, name: str) -> list[str]:
    means = results["options"]["mean_iou"][name]
    return ["" if means[part] is None else f"{means[part]:.4f}" for part in PARTS]
