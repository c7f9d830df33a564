"""This package, on PyTorch and on ONNX Runtime, against the reference: A B C A B C, ratios turn by turn.

python -m benchmarks.side_by_side --out benchmarks/results/side_by_side.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
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
    ("clicks", {"count": 9}, 10),
    ("refine", {"x": 0.4, "y": 0.5}, 20),
    ("boxes", {"count": 16}, 6),
    ("points", {"count": 64}, 4),
)
ORDER = (OURS, OURS_ONNX, REFERENCE)
PAUSE = 0.3  # seconds: OpenMP threads of the one that just ran spin for a while before they sleep


def compare(processes: dict[str, Process], task: str, arguments: dict[str, Any], turns: int) -> dict[str, Any]:
    """Run a task in turns after one warm-up each; return medians in seconds, and how many times faster ours are.

    Args:
        processes: by package; the reference is the last.
    """
    taken = []
    for turn in range(turns + 1):
        row = []
        for process in processes.values():
            time.sleep(PAUSE)
            row.append(process.ask(task, **arguments)["seconds"])
        if turn:
            taken.append(row)
    *ours, _ = processes
    return {
        "task": task,
        "arguments": arguments,
        "packages": {package: _compared([(row[i], row[-1]) for row in taken]) for i, package in enumerate(ours)},
        "reference": statistics.median(row[-1] for row in taken),
        "turns": taken,
    }


def _compared(pairs: list[tuple[float, float]]) -> dict[str, float]:
    ratios = [slow / fast for fast, slow in pairs]
    q1, median, q3 = statistics.quantiles(ratios, n=4, method="inclusive")
    seconds = statistics.median(fast for fast, _ in pairs)
    return {"seconds": seconds, "ratio": median, "ratio_q1": q1, "ratio_q3": q3}


def memory(start: Callable[[], Process], photo: Path) -> dict[str, int]:
    """Return the peak memory in bytes of fresh processes: after loading, and after each task on a loaded image."""
    peaks = {}
    for task, arguments, _ in TASKS:
        with start() as process:
            peaks["load"] = process.load["peak_bytes"]
            process.ask("open", photo=str(photo))
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
    parser.add_argument("--image", type=Path, help="by default a synthetic one of 1024 x 768")
    parser.add_argument("--turns", type=float, default=1.0, help="factor for the number of turns")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    python, weights = reference.interpreter(arguments), reference.checkpoint(arguments)

    def start(package: str) -> Process:
        # All share the reference's environment, so that nothing differs but the packages.
        return Process(python, package, weights, arguments.threads)

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        photo = (arguments.photo or Path(folder) / "sample.png").resolve()
        if not arguments.photo:
            write_sample(photo)
        found = []
        processes = {package: stack.enter_context(start(package)) for package in ORDER}
        for process in processes.values():
            process.ask("open", photo=str(photo))
        for task, options, turns in TASKS:
            row = compare(processes, task, options, max(2, round(turns * arguments.turns)))
            found.append(row)
            ours = (
                f"{package} {each['seconds']:.4f} s, {each['ratio']:.2f} x" for package, each in row["packages"].items()
            )
            print(f"{task}: reference {row['reference']:.4f} s, {', '.join(ours)}", flush=True)
        stack.close()
        peaks = {package: memory(lambda package=package: start(package), photo) for package in ORDER}
    for task in peaks[REFERENCE]:
        print(f"{task}: peak MiB {', '.join(f'{package} {peaks[package][task] / 2**20:.0f}' for package in ORDER)}")
    document = {
        "format": "side-by-side-2",
        "order": ORDER,
        "threads": arguments.threads,
        "image": arguments.photo.name if arguments.photo else "synthetic 1024 x 768",
        "environment": describe_environment(),
        "versions": versions(python, PACKAGES),
        "tasks": found,
        "peak_bytes": peaks,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
