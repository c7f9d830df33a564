"""This package, on each of its runtimes, against the reference: A B C A B C, ratios turn by turn.

python -m benchmarks.side_by_side --image PHOTO --out benchmarks/results/side_by_side.json
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import packages
from benchmarks.common import in_turns, make_parser, write_result
from benchmarks.packages import OPENVINO, OPENVINO_BFLOAT16, OURS, OURS_ONNX, REFERENCE
from benchmarks.worker import Process
from mobilesam.bench import write_sample
from mobilesam.cores import instructions
from mobilesam.geometry import covered_tokens, resized_hw
from mobilesam.image.read import read_image

VERSIONS = ["mobilesam", "mobilesam-mirror", "torch", "torchvision", "timm", "onnxruntime", "numpy"]
VERSIONS += ["openvino", "opencv-python-headless"]
# Task, its arguments, and turns at full length.
TASKS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("set_image", {}, 12),
    ("click", {"x": 0.5, "y": 0.5}, 30),
    ("clicks", {"count": 9}, 10),
    ("refine", {"x": 0.4, "y": 0.5}, 20),
    ("boxes", {"count": 16}, 6),
    ("points", {"count": 64}, 4),
    ("everything", {"points_per_side": 16}, 3),
)
_NATIVE_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
PAUSE = 0.3  # seconds: OpenMP threads of the process that ran last spin for a while before they sleep


def compare(processes: dict[str, Process], task: str, arguments: dict[str, Any], turns: int) -> dict[str, Any]:
    """Run a task in turns after one warm-up each; return medians in seconds, and how many times faster ours are.

    Args:
        processes: by package; the reference is the last.
    """

    def timed(process: Process) -> Callable[[int], float]:
        def run(turn: int) -> float:
            time.sleep(PAUSE)
            return process.run(task, **arguments)["seconds"]

        return run

    warmup = 0 if task == "everything" else 1
    seconds = in_turns({package: timed(process) for package, process in processes.items()}, turns, warmup=warmup)
    *ours, reference = processes
    return {
        "task": task,
        "arguments": arguments,
        "packages": {package: _compared(seconds[package], seconds[reference]) for package in ours},
        "reference": statistics.median(seconds[reference]),
        "turns": [list(turn) for turn in zip(*seconds.values(), strict=True)],
    }


def _compared(ours: list[float], theirs: list[float]) -> dict[str, float]:
    ratios = [slow / fast for fast, slow in zip(ours, theirs, strict=True)]
    q1, median, q3 = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"seconds": statistics.median(ours), "ratio": median, "ratio_q1": q1, "ratio_q3": q3}


def memory(start: Callable[[str], Process], package: str, photo: Path) -> dict[str, int]:
    """Return the peak memory in bytes of fresh processes: after loading, and after each task on a loaded image."""
    peaks = {}
    for task, arguments, _ in TASKS:
        with start(package) as process:
            peaks["load"] = process.load["peak_bytes"]
            process.run("open", photo=str(photo))
            if task != "set_image":
                process.run("set_image")
            if task == "refine":
                process.run("click", x=0.5, y=0.5)
            peaks[task] = process.run(task, **arguments)["peak_bytes"]
    return peaks


def order() -> list[str]:
    """Return the packages, the reference last; bfloat16 only where the processor computes it."""
    bfloat16 = [OPENVINO_BFLOAT16] if _NATIVE_BFLOAT16.intersection(instructions() or ()) else []
    return [OURS, OURS_ONNX, OPENVINO, *bfloat16, REFERENCE]


def main() -> None:
    """Compare, print a line for each task, and write the JSON."""
    parser = make_parser(__doc__)
    packages.add_arguments(parser)
    parser.add_argument("--image", type=Path, help="by default a synthetic one of 1024 x 768")
    parser.add_argument("--turns", type=float, default=1.0, help="factor for the number of turns")
    arguments = parser.parse_args()
    python, weights = packages.interpreter(arguments), packages.checkpoint(arguments)

    def start(package: str) -> Process:
        # All run in the reference's environment, so that nothing differs but the packages.
        return Process(python, package, weights, arguments.threads)

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        photo = (arguments.image or Path(folder) / "sample.png").resolve()
        if not arguments.image:
            write_sample(photo)
        height, width, _ = read_image(photo).shape
        rows = []
        processes = {package: stack.enter_context(start(package)) for package in order()}
        for process in processes.values():
            process.run("open", photo=str(photo))
        for task, options, turns in TASKS:
            row = compare(processes, task, options, max(2, round(turns * arguments.turns)))
            rows.append(row)
            ours = (
                f"{package} {each['seconds']:.4f} s, {each['ratio']:.2f} x" for package, each in row["packages"].items()
            )
            print(f"{task}: reference {row['reference']:.4f} s, {', '.join(ours)}", flush=True)
        stack.close()
        peaks = {package: memory(start, package, photo) for package in order()}
    for task in peaks[REFERENCE]:
        print(f"{task}: peak MiB {', '.join(f'{package} {peaks[package][task] / 2**20:.0f}' for package in peaks)}")
    rows_covered, columns_covered = covered_tokens(resized_hw((height, width), 1024), 1024, 64)
    result = {
        "format": "side-by-side-2",
        "order": list(peaks),
        "threads": arguments.threads,
        "covered": rows_covered * columns_covered / 64**2,
        "image": arguments.image.name if arguments.image else "synthetic 1024 x 768",
        "versions": packages.versions(python, VERSIONS),
        "tasks": rows,
        "peak_bytes": peaks,
    }
    write_result(arguments.out, result)


if __name__ == "__main__":
    main()
