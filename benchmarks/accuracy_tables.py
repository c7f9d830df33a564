"""The tables of docs/accuracy.md and docs/quantization.md."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.tables import MACHINE, Results, conditions, rows_table
from mobilesam.evaluate import report
from mobilesam.evaluate.report import table

_PARTS = ("all", "even", "odd", "not square")
_PADDINGS = {
    "square": "the padded square",
    "empty": "covered part, an empty square's embedding around it",
    "zeros": "covered part, zeros around it",
}
_RUNTIMES = {
    "eval_mobilesam": "PyTorch, float32",
    "eval_onnx": "ONNX Runtime, float32",
    "eval_openvino": "OpenVINO, float32",
    "eval_openvino_bfloat16": "OpenVINO, bfloat16",
}
_RULES = {
    "score": "highest predicted IoU of the three (`score`, the reference's habit)",
    "single": "the single mask (`single`)",
    "agreement": "the one the four agree with (`agreement`)",
    "best of three": "an oracle's best of three",
}


def _summaries(results: Results) -> dict[str, Any]:
    """Return the summaries of both evaluations by the names of the packages."""
    runs = {"mobilesam": "eval_mobilesam", "mobilesam-mirror": "eval_reference"}
    return {name: results[run]["summary"] for name, run in runs.items()}


def _prompts(results: Results) -> dict[str, Any]:
    return results["eval_mobilesam"]["summary"]["prompts"]


def accuracy(results: Results) -> str:
    return report.accuracy_table(_summaries(results))


def difference(results: Results) -> str:
    ours, theirs = (summary["prompts"] for summary in _summaries(results).values())
    rows = [[kind, f"{abs(ours[kind]['mean_iou'] - theirs[kind]['mean_iou']):.6f}"] for kind in ours]
    return table(["prompt", "difference in mIoU"], rows)


def clicks(results: Results) -> str:
    return report.clicks_table(_summaries(results))


def calibration_box(results: Results) -> str:
    return report.calibration_table(_prompts(results)["box"], "box")


def calibration_point(results: Results) -> str:
    return report.calibration_table(_prompts(results)["point"], "point")


def tokens(results: Results) -> str:
    head = ["prompt", "single mask", "first of three", "second", "third", "ranked first", "best of three"]
    rows = []
    for kind in ("box", "point"):
        summary = _prompts(results)[kind]
        ious = [*summary["by_token"], summary["ranked_iou"], summary["oracle_iou"]]
        rows.append([kind, *(f"{iou:.4f}" for iou in ious)])
    return table(head, rows)


def runtimes(results: Results) -> str:
    """Return the accuracy of the same weights on each runtime, on the same objects."""
    rows = []
    for name, label in _RUNTIMES.items():
        box, point = (results[name]["summary"]["prompts"][kind] for kind in ("box", "point"))
        ious = [box["mean_iou"], box["boundary_iou"], point["mean_iou"], point["oracle_iou"]]
        rows.append([label, *(f"{iou:.4f}" for iou in ious)])
    return table(["", "box", "its boundary IoU", "point, best predicted IoU", "point, best of three"], rows)


def stages(results: Results) -> str:
    return report.seconds_table(_summaries(results))


def conditions_eval(results: Results) -> str:
    names = ("mobilesam", "reference")
    return "\n".join(f"- {name}: {conditions(results[f'eval_{name}'], MACHINE + ', {versions}')}" for name in names)


def _iou_table(results: Results, rows: list[tuple[str, str]]) -> str:
    """Return the mean IoUs of all objects and of parts; a row is its label and the name of the result."""
    means = results["options"]["mean_iou"]
    cells = [[label, *map(_iou, (means[name][part] for part in _PARTS))] for label, name in rows]
    return table(["", *_PARTS], cells)


def _iou(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def padding(results: Results) -> str:
    rows = [
        (f"{kind} ({rule}): {label}", f"{name}/{kind}/{rule}")
        for kind, rule in (("box", "single"), ("point", "score"), ("point", "agreement"))
        for name, label in _PADDINGS.items()
        if (rule, name) != ("agreement", "zeros")
    ]
    return _iou_table(results, rows)


def padding_seconds(results: Results) -> str:
    options = results["options"]
    oblong = [row for row in options["encode_seconds"] if row["hw"][0] != row["hw"][1]]
    rows = []
    for name, sample in (("the evaluation's images that are not square", oblong), ("16:9 crops", options["wide"])):
        square, empty = (statistics.median(row[padding] for row in sample) for padding in ("square", "empty"))
        ratio = statistics.median(row["square"] / row["empty"] for row in sample)
        rows.append([name, str(len(sample)), f"{square:.3f}", f"{empty:.3f}", f"{ratio:.2f}"])
    return table(["images", "n", "padded square s", "fast padding s", "times faster"], rows)


def selection(results: Results) -> str:
    rows = [
        (f"{kind}: {label}", f"square/{kind}/{rule}") for kind in ("point", "box") for rule, label in _RULES.items()
    ]
    return _iou_table(results, rows)


def selection_gap(results: Results) -> str:
    means = {rule: results["options"]["mean_iou"][f"square/point/{rule}"] for rule in _RULES}
    rows = []
    for rule in ("single", "agreement"):
        closed = [
            (means[rule][part] - means["score"][part]) / (means["best of three"][part] - means["score"][part])
            for part in ("even", "odd", "all")
        ]
        rows.append([rule, *(f"{100 * share:.0f} %" for share in closed)])
    return table(["share of the gap closed", "even", "odd", "all"], rows)


def second_pass(results: Results) -> str:
    rows = [
        (f"{kind}, {rule}: {label}", f"{run}/{kind}/{rule}")
        for kind, rule in (("box", "single"), ("point", "single"), ("point", "agreement"))
        for label, run in (("first pass", "square"), ("second pass", "second pass"))
    ]
    return _iou_table(results, rows)


def torch_settings(results: Results) -> str:
    times = results["options"]["torch"]
    base = next(iter(times.values()))
    rows = []
    for name, seconds in times.items():
        ratio = statistics.median(one / other for one, other in zip(seconds, base, strict=True))
        rows.append([name, f"{statistics.median(seconds):.3f}", f"{ratio:.2f}"])
    return table(["encoder", "s", "of the time as it is"], rows)


def conditions_options(results: Results) -> str:
    return conditions(results["options"], f"- {MACHINE}, {{versions}}, threads {{threads}}")


def quantization(results: Results) -> str:
    """Return a row for each recipe: megabytes, time against float32, and the accuracy of the masks."""
    recipes = results["quantization"]["recipes"]
    first = recipes[0]
    accuracy = (f"{first['accuracy'][kind]['float32']:.4f}" for kind in ("box", "point"))
    rows = [["float32", *_megabytes(first["files"], "size"), "1.00", "1.00", *accuracy, "1"]]
    for recipe in recipes:
        kinds = [recipe["accuracy"][kind] for kind in ("box", "point")]
        rows.append(
            [
                recipe["recipe"],
                *_megabytes(recipe["files"], "quantized_size"),
                *(f"{after / before:.2f}" for before, after in recipe["seconds"].values()),
                *(f"{kind['quantized']:.4f} ({-kind['drop']:+.4f})" for kind in kinds),
                ", ".join(f"{kind['agreement']:.3f}" for kind in kinds),
            ]
        )
    head = ["recipe", "encoder MB", "decoder MB", "steps MB", "encode", "click"]
    return table([*head, "mIoU box", "mIoU point", "IoU with float32's masks"], rows)


def _megabytes(files: list[dict[str, Any]], key: str) -> list[str]:
    """Return the sizes of the encoder, the decoder, and the three files of the split decoder."""
    sizes = {file["role"]: file[key] for file in files}
    split = sizes["image"] + sizes["score"] + sizes["upscale"]
    return [f"{size / 1e6:.2f}" for size in (sizes["encoder"], sizes["decoder"], split)]


def quantization_operators(results: Results) -> str:
    """Return which operators each recipe computes in int8, and which it leaves in float32, by file."""
    rows = [
        {"recipe": recipe["recipe"], **file}
        for recipe in results["quantization"]["recipes"]
        for file in recipe["files"]
        if file["in_int8"] or file["left_in_float"]
    ]
    int8, left = (lambda row, key=key: _counted(row[key]) for key in ("in_int8", "left_in_float"))
    return rows_table(
        rows, ("recipe", "{recipe}"), ("file", "{name}"), ("in int8", int8), ("could be, and loses too much", left)
    )


def _counted(operators: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in operators.items()) or "none"


def conditions_quantization(results: Results) -> str:
    form = "- {processor}, {cores} cores, commit {commit}, {threads} threads, {images} images, {versions}"
    return conditions(results["quantization"], form)


_LEARNED_ON = {"all": "all images", "commercial": "those of a commercial license, in the package"}


def chooser(results: Results) -> str:
    rows = []
    for name, label in _LEARNED_ON.items():
        for kind, values in results["chooser"][name].items():
            domains = values["domains"]
            gains = [f"{each['learned']:.3f} ({each['learned'] - each['agreement']:+.3f})" for each in domains.values()]
            means = [f"{values[rule]:.4f}" for rule in ("score", "agreement", "learned", "best")]
            shares = [f"{100 * values[share]:.0f} %" for share in ("share_agreement", "share")]
            rows.append(
                [label, kind, str(values["clicks"]), *means, *shares, f"{values['calibration_error']:.3f}", *gains]
            )
    names = list(results["chooser"]["all"]["test"]["domains"])
    head = ["learned on", "measured", "clicks", "predicted IoU", "agreement", "learned", "best of three"]
    return table([*head, "gap closed by agreement", "by learned", "calibration error", *names], rows)


def chooser_calibration(results: Results) -> str:
    rows = results["chooser"]["commercial"]["test"]["calibration"]
    cells = [
        [
            f"{each['bin'] / 10:.1f}-{(each['bin'] + 1) / 10:.1f}",
            str(each["n"]),
            f"{each['confidence']:.3f}",
            f"{each['iou']:.3f}",
        ]
        for each in rows
    ]
    return table(["confidence", "n", "mean confidence", "mean IoU"], cells)


def chooser_boxes(results: Results) -> str:
    rows = []
    for name, label in _LEARNED_ON.items():
        for kind, values in results["box_chooser"][name].items():
            every = [values, *values["domains"].values()]
            gains = [f"{each['learned']:.4f} ({each['learned'] - each['single']:+.4f})" for each in every]
            means = [f"{values[rule]:.4f}" for rule in ("single", "agreement")]
            rows.append([label, kind, str(values["clicks"]), *means, *gains, f"{values['calibration_error']:.3f}"])
    names = list(results["box_chooser"]["all"]["test"]["domains"])
    return table(
        ["learned on", "measured", "boxes", "single mask", "agreement", "learned", *names, "calibration error"], rows
    )


def edges(results: Results) -> str:
    rows = [
        [each["name"], f"{each['mean_iou']:.4f}", f"{each['boundary_iou']:.4f}", f"{each['ms_per_megapixel']:.0f}"]
        for each in results["edges"]["rows"]
    ]
    return table(["box, single mask", "mIoU", "boundary", "ms a megapixel"], rows)


def conditions_chooser(results: Results) -> str:
    return conditions(results["chooser"], f"- {MACHINE}, {{versions}}")


def chooser_clicks(results: Results) -> str:
    rows = [
        [each["rule"], *(f"{each[name]:.4f}" for name in ("first", "second", "last"))]
        + [f"{each[name]:.2f}" for name in ("noc_0.85", "noc_0.90")]
        for each in results["chooser_clicks"]["rows"]
    ]
    return table(["first mask", "after 1 click", "after 2", "after all", "NoC@85", "NoC@90"], rows)
