"""The tables of docs/quantization.md, from what benchmarks/quantization.py measured."""

from __future__ import annotations

from typing import Any

from mobilesam.evaluate.report import table

Results = Any  # the JSON files by name: benchmarks.render.Results


def quantization(results: Results) -> str:
    """Return a line for each recipe: megabytes, time against float32, and what happened to the masks."""
    found = results["quantization"]["recipes"]
    sizes = {file["role"]: file["size"] for file in found[0]["files"]}
    steps = ("image", "score", "upscale")
    first = found[0]
    rows = [
        [
            "float32",
            _megabytes(sizes["encoder"]),
            _megabytes(sizes["decoder"]),
            _megabytes(sum(sizes[role] for role in steps)),
            *("1.00", "1.00"),
            *(f"{first['accuracy'][kind]['float32']:.4f}" for kind in ("box", "point")),
            "1",
        ]
    ]
    for report in found:
        small = {file["role"]: file["quantized_size"] for file in report["files"]}
        accuracy = report["accuracy"]
        rows.append(
            [
                report["recipe"],
                _megabytes(small["encoder"]),
                _megabytes(small["decoder"]),
                _megabytes(sum(small[role] for role in steps)),
                *(f"{after / before:.2f}" for before, after in report["seconds"].values()),
                *(f"{accuracy[kind]['quantized']:.4f} ({-accuracy[kind]['drop']:+.4f})" for kind in ("box", "point")),
                f"{accuracy['box']['agreement']:.3f}, {accuracy['point']['agreement']:.3f}",
            ]
        )
    head = ["recipe", "encoder MB", "decoder MB", "steps MB", "encode", "click"]
    return table([*head, "mIoU box", "mIoU point", "IoU with float32's masks"], rows)


def quantization_operators(results: Results) -> str:
    """Return which operators each recipe computes in int8, and which it leaves in float32, by file."""
    rows = [
        [report["recipe"], file["name"], _counted(file["in_int8"]), _counted(file["left_in_float"])]
        for report in results["quantization"]["recipes"]
        for file in report["files"]
        if file["in_int8"] or file["left_in_float"]
    ]
    return table(["recipe", "file", "in int8", "could be, and loses too much"], rows)


def conditions_quantization(results: Results) -> str:
    """Return where and on what it was measured."""
    found = results["quantization"]
    environment = found["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version)
    where = f"{environment['processor']}, {environment['cores']} cores, commit {environment['commit']}"
    return f"- {where}, {found['threads']} threads, {found['photos']} images, {versions}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f}"


def _counted(operators: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in operators.items()) or "none"
