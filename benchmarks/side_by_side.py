"""This package against the reference, in two processes that take turns: A B A B, ratios pair by pair.

python -m benchmarks.side_by_side --out benchmarks/results/side_by_side.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import reference
from benchmarks.packages import OURS, OURS_ONNX, REFERENCE
from benchmarks.processes import Process, versions
from mobilesam.bench import describe_environment, write_sample

PACKAGES = [
    "mobilesam",
    "mobilesam-mirror",
    "torch",
    "torchvision",
    "timm",
    "onnxruntime",
    "numpy",
    "opencv-python-headless",
]
# Task, its arguments, turns at full length, and what must have been done before in the same process.
TASKS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("set_image", {}, 12),
    ("click", {"x": 0.5, "y": 0.5}, 30),
    ("refine", {"x": 0.4, "y": 0.5}, 20),
    ("boxes", {"count": 16}, 6),
    ("points", {"count": 64}, 4),
)
PAUSE = 0.3  # seconds: OpenMP threads of the one that just ran spin for a while before they sleep


def compare(ours: Process, theirs: Process, task: str, arguments: dict[str, Any], turns: int) -> dict[str, Any]:
    """Run a task in turns after one warm-up each; return medians in seconds, and how many times faster ours is."""
    pairs = []
    for turn in range(turns + 1):
        pair = []
        for process in (ours, theirs):
            time.sleep(PAUSE)
            pair.append(process.ask(task, **arguments)["seconds"])
        if turn:
            pairs.append(pair)
    ratios = [slow / fast for fast, slow in pairs]
    q1, median, q3 = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "task": task,
        "arguments": arguments,
        "ours": statistics.median(fast for fast, _ in pairs),
        "reference": statistics.median(slow for _, slow in pairs),
        "ratio": median,
        "ratio_q1": q1,
        "ratio_q3": q3,
        "pairs": pairs,
    }


def memory(start: Callable[[], Process], picture: Path) -> dict[str, int]:
    """Return the peak memory in bytes of fresh processes: after loading, and after each task on a loaded picture."""
    peaks = {}
    for task, arguments, _ in TASKS:
        with start() as process:
            peaks["load"] = process.load["peak_bytes"]
            process.ask("open", picture=str(picture))
            if task != "set_image":
                process.ask("set_image")
            if task == "refine":
                process.ask("click", x=0.5, y=0.5)
            peaks[task] = process.ask(task, **arguments)["peak_bytes"]
    return peaks


def main() -> None:
    """Compare, print a line a task, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reference.add_arguments(parser)
    parser.add_argument("--backend", choices=("torch", "onnx"), default="torch", help="of this package")
    parser.add_argument("--picture", type=Path, help="by default a synthetic one of 1024 x 768")
    parser.add_argument("--turns", type=float, default=1.0, help="factor for the number of turns")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    python, weights = reference.interpreter(arguments), reference.checkpoint(arguments)
    package = OURS_ONNX if arguments.backend == "onnx" else OURS

    def start_ours() -> Process:
        # With torch both packages share the reference's environment, so that nothing differs but the packages.
        return Process(python if package == OURS else Path(sys.executable), package, weights, arguments.threads)

    def start_theirs() -> Process:
        return Process(python, REFERENCE, weights, arguments.threads)

    with tempfile.TemporaryDirectory() as folder:
        picture = (arguments.picture or Path(folder) / "sample.png").resolve()
        if not arguments.picture:
            write_sample(picture)
        found = []
        with start_ours() as ours, start_theirs() as theirs:
            for process in (ours, theirs):
                process.ask("open", picture=str(picture))
            for task, options, turns in TASKS:
                row = compare(ours, theirs, task, options, max(2, round(turns * arguments.turns)))
                found.append(row)
                print(f"{task:10} {row['ours']:8.4f} s {row['reference']:8.4f} s {row['ratio']:6.2f} x", flush=True)
        peaks = {"ours": memory(start_ours, picture), "reference": memory(start_theirs, picture)}
    for task in peaks["ours"]:
        ours_mb, theirs_mb = (peaks[name][task] / 2**20 for name in ("ours", "reference"))
        print(f"{task:10} {ours_mb:8.0f} MiB {theirs_mb:6.0f} MiB peak")
    document = {
        "format": "side-by-side-1",
        "backend": arguments.backend,
        "threads": arguments.threads,
        "picture": arguments.picture.name if arguments.picture else "synthetic 1024 x 768",
        "environment": describe_environment(),
        "versions": {
            "mobilesam": versions(python if package == OURS else Path(sys.executable), PACKAGES),
            "mobilesam-mirror": versions(python, PACKAGES),
        },
        "tasks": found,
        "peak_bytes": peaks,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
