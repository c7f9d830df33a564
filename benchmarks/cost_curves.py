"""Time and peak memory of this package against image size, number of prompts and threads.

python -m benchmarks.cost_curves --out benchmarks/results/cost_curves.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import reference
from benchmarks.packages import OURS, OURS_ONNX
from benchmarks.processes import Process
from mobilesam.bench import describe_environment, write_sample

MEGAPIXELS = (0.3, 1, 3, 6, 12, 24)
PROMPTS = (1, 4, 16, 64, 256, 1024)
ASPECT = 4 / 3
HW = (768, 1024)


def point(
    package: str, weights: Path, threads: int, photo: Path, task: str, repeats: int, **options: Any
) -> dict[str, Any]:
    """Measure one point of a curve in a fresh process, after one warm-up for everything but the memory."""
    with Process(Path(sys.executable), package, weights, threads) as process:
        process.ask("open", photo=str(photo))
        process.ask("set_image")
        answers = [process.ask(task, **options) for _ in range(repeats + 1)]
    return {
        "seconds": statistics.median(answer["seconds"] for answer in answers[1:]),
        "peak_bytes": answers[-1]["peak_bytes"],
    }


def curves(package: str, weights: Path, threads: int, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the three curves, printing each point as it comes."""
    sample = folder / "sample.png"
    write_sample(sample, HW)
    found: dict[str, list[dict[str, Any]]] = {"size": [], "prompts": [], "threads": []}
    for megapixels in MEGAPIXELS:
        height = round((megapixels * 1e6 / ASPECT) ** 0.5)
        photo = folder / f"{megapixels}.png"
        write_sample(photo, (height, round(height * ASPECT)))
        row: dict[str, Any] = {"megapixels": megapixels}
        for task, options in (("set_image", {}), ("click", {"x": 0.5, "y": 0.5})):
            row[task] = point(package, weights, threads, photo, task, 3, **options)
        found["size"].append(_shown("size", row))
    for count in PROMPTS:
        repeats = 3 if count <= 64 else 1
        row = {"prompts": count, "boxes": point(package, weights, threads, sample, "boxes", repeats, count=count)}
        found["prompts"].append(_shown("prompts", row))
    for number in sorted({1, 2, os.cpu_count() or 1} & set(range(1, (os.cpu_count() or 1) + 1))):
        row = {"threads": number}
        for task, options in (("set_image", {}), ("click", {"x": 0.5, "y": 0.5})):
            row[task] = point(package, weights, number, sample, task, 5, **options)
        found["threads"].append(_shown("threads", row))
    return found


def _shown(curve: str, row: dict[str, Any]) -> dict[str, Any]:
    parts = [f"{curve} {row[next(iter(row))]}"]
    for task, found in list(row.items())[1:]:
        parts.append(f"{task} {found['seconds']:.3f} s {found['peak_bytes'] / 2**20:.0f} MiB")
    print(", ".join(parts), flush=True)
    return row


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", choices=("torch", "onnx"), default="torch")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for the first two curves")
    parser.add_argument("--checkpoint", type=Path, help="weights in safetensors; by default those of mobilesam")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    package = OURS_ONNX if arguments.backend == "onnx" else OURS
    with tempfile.TemporaryDirectory() as folder:
        found = curves(package, reference.checkpoint(arguments), arguments.threads, Path(folder))
    document = {
        "format": "cost-curves-1",
        "backend": arguments.backend,
        "threads": arguments.threads,
        "environment": describe_environment(),
        "curves": found,
    }
    arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
