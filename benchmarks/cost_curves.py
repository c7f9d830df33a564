"""Time and peak memory of this package against image size, number of prompts and threads.

python -m benchmarks.cost_curves --out benchmarks/results/cost_curves.json
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import packages
from benchmarks.common import make_parser, write_result, write_sized
from benchmarks.packages import OURS, OURS_ONNX
from benchmarks.worker import Process
from mobilesam.bench import write_sample

MEGAPIXELS = (0.3, 1, 3, 6, 12, 24)
PROMPTS = (1, 4, 16, 64, 256, 1024)
TASKS: dict[str, dict[str, Any]] = {"set_image": {}, "click": {"x": 0.5, "y": 0.5}}


def curves(package: str, weights: Path, threads: int, folder: Path, limit: float) -> dict[str, list[dict[str, Any]]]:
    """Return the curves by size, prompts and threads, up to ``limit`` megapixels or prompts; print each point."""

    def point(task: str, photo: Path, threads: int, repeats: int, **options: Any) -> dict[str, Any]:
        """Measure in a fresh process, after one warm-up for everything but the memory."""
        with Process(Path(sys.executable), package, weights, threads) as process:
            process.run("open", photo=str(photo))
            process.run("set_image")
            responses = [process.run(task, **options) for _ in range(repeats + 1)]
        seconds = statistics.median(response["seconds"] for response in responses[1:])
        print(f"{task}, {photo.name}, {threads} threads, {options}: {seconds:.3f} s", flush=True)
        return {"seconds": seconds, "peak_bytes": responses[-1]["peak_bytes"]}

    def both(photo: Path, threads: int, repeats: int) -> dict[str, Any]:
        return {task: point(task, photo, threads, repeats, **options) for task, options in TASKS.items()}

    sample, cores = folder / "sample.png", os.cpu_count() or 1
    write_sample(sample)
    return {
        "size": [
            {"megapixels": size, **both(write_sized(folder, size), threads, 3)} for size in MEGAPIXELS if size <= limit
        ],
        "prompts": [
            {"prompts": count, "boxes": point("boxes", sample, threads, 3 if count <= 64 else 1, count=count)}
            for count in PROMPTS
            if count <= limit
        ],
        "threads": [{"threads": count, **both(sample, count, 5)} for count in sorted({1, 2, cores}) if count <= cores],
    }


def main() -> None:
    """Measure and write the JSON."""
    parser = make_parser(__doc__)
    parser.add_argument("--backend", choices=("torch", "onnx"), default="torch")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for the first two curves")
    parser.add_argument("--checkpoint", type=Path, help="weights in safetensors; by default those of mobilesam")
    parser.add_argument("--limit", type=float, default=1024, help="the most megapixels, and the most prompts")
    arguments = parser.parse_args()
    package = OURS_ONNX if arguments.backend == "onnx" else OURS
    with tempfile.TemporaryDirectory() as folder:
        result = curves(package, packages.checkpoint(arguments), arguments.threads, Path(folder), arguments.limit)
    about = {"format": "cost-curves-1", "backend": arguments.backend, "threads": arguments.threads}
    write_result(arguments.out, {**about, "curves": result})


if __name__ == "__main__":
    main()
