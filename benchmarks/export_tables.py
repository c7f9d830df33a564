"""The table of exports to other runtimes in docs/accuracy.md."""

from __future__ import annotations

from benchmarks.tables import MACHINE, Results, conditions, table

_EXPORTS = {"onnx": "ONNX Runtime", "litert": "LiteRT", "openvino": "OpenVINO", "ncnn": "ncnn"}


def exports(results: Results) -> str:
    """Return a row for each runtime and precision: size, time beside ONNX Runtime, and accuracy."""
    accuracy, seconds = (results["runtimes"][part] for part in ("accuracy", "time"))
    base, taken = accuracy["onnx float32"], seconds["seconds"]
    rows = []
    for name, measured in sorted(accuracy.items(), key=lambda item: [*_EXPORTS].index(item[0].split()[0])):
        runtime, _, precision = name.partition(" ")
        ratios = (taken[name][stage] / taken["onnx float32"][stage] for stage in ("set_image", "click"))
        losses = (f"{measured[kind]:.4f} ({measured[kind] - base[kind]:+.4f})" for kind in ("box", "point"))
        size = f"{measured['bytes'] / 1e6:.1f}"
        rows.append([_EXPORTS[runtime], precision, size, *(f"{ratio:.2f}" for ratio in ratios), *losses])
    return table(["runtime", "precision", "MB", "encode", "click", "mIoU box", "mIoU point"], rows)


def conditions_exports(results: Results) -> str:
    form = f"- {MACHINE}, {{versions}}, {{threads}} threads, {{turns}} turns"
    return conditions(results["runtimes"]["time"], form)
