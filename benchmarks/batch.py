"""Many images: throughput against a plain loop, memory over time, a run killed and resumed, Ray with a worker lost.

python -m benchmarks.batch --photos FOLDER --out benchmarks/results/batch.json speed camera resume ray

Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.batch_photos import add_photos, make_photos
from benchmarks.common import in_turns, make_parser, write_parts
from benchmarks.packages import environment
from benchmarks.process_tree import MemoryOverTime, ray_actors
from mobilesam import weights
from mobilesam.formats import read_coco

PLAIN = "plain loop"
CAMERA_MEGAPIXELS = 12
SAMPLES = 40  # of the memory, that are kept


def plain_command(work: Path, images: str, out: Path, threads: int) -> list[str]:
    """Return the command of the plain loop."""
    module = [sys.executable, "-m", "benchmarks.plain_loop"]
    return [*module, str(work / images), str(work / "prompts.json"), str(out), str(threads)]


def batch_command(work: Path, images: str, out: Path, workers: int, threads: int, *more: str) -> list[str]:
    """Return the command of a batch."""
    options = ["--prompts", str(work / "prompts.json"), "--out", str(out), "--format", "coco,mask"]
    options += ["--workers", str(workers), "--threads", str(threads), *more]
    return [sys.executable, "-m", "mobilesam", "batch", str(work / images), *options]


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a command that imports this checkout."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())


def finish(process: subprocess.Popen[str]) -> tuple[int, int, set[str]]:
    """Wait for a command; return its counts of images done and bad, and its error lines."""
    output, _ = process.communicate()
    match = re.search(r"(\d+) images? done, (\d+) bad", output)
    if match is None:
        raise SystemExit(f"{' '.join(process.args[1:4])} exited with code {process.returncode}:\n{output}")
    errors = {line.removeprefix("error: ") for line in output.splitlines() if line.startswith("error: ")}
    return int(match[1]), int(match[2]), errors


def measured(command: list[str]) -> dict[str, Any]:
    """Run a command and return its seconds, counts and memory; loading the model is part of it."""
    begin = time.perf_counter()
    process = start(command)
    with MemoryOverTime(process.pid) as memory:
        done, bad, _ = finish(process)
    numbers = {"seconds": time.perf_counter() - begin, "done": done, "bad": bad}
    print(" ".join(command[1:]), numbers, flush=True)
    return {**numbers, "memory": memory.samples}


def speed(arguments: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Run the plain loop and each split on each part of the images, in turns."""
    parts = split_photos(arguments, work)
    runs = {PLAIN: lambda turn: measured(plain_command(work, parts[turn], out(PLAIN, turn), arguments.threads))}

    def out(name: str, turn: int) -> Path:
        return work / f"out-{name}-{turn}"

    for workers, threads in arguments.splits:
        name = f"{workers} x {threads}"
        runs[name] = lambda turn, name=name, split=(workers, threads): measured(
            batch_command(work, parts[turn], out(name, turn), *split)
        )
    rows = []
    results = in_turns(runs, arguments.turns, rotate=True)
    for name, turns in results.items():
        row = {key: sum(turn[key] for turn in turns) for key in ("seconds", "done", "bad")}
        row |= {"name": name, "images_per_second": row["done"] / row["seconds"]}
        row["times_plain_loop"] = sum(turn["seconds"] for turn in results[PLAIN]) / row["seconds"]
        row |= describe_memory([turn["memory"] for turn in turns])
        if name != PLAIN:
            row["masks_like_plain_loop"] = sum(like(out(name, turn), out(PLAIN, turn)) for turn in range(len(parts)))
        rows.append(row)
    return rows


def camera(arguments: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Do as :func:`speed` with fewer images of a camera's size."""
    larger = work / "camera"
    make_photos(arguments.photos, larger / "images", arguments.camera, arguments.bad, CAMERA_MEGAPIXELS)
    return speed(arguments, larger)


def split_photos(arguments: argparse.Namespace, work: Path) -> list[str]:
    """Put the images into as many folders as there are turns, as links."""
    names = sorted(path.name for path in (work / "images").iterdir())
    parts = [f"part-{turn}" for turn in range(arguments.turns)]
    for turn, part in enumerate(parts):
        (work / part).mkdir(exist_ok=True)
        for name in names[turn :: arguments.turns]:
            (work / part / name).hardlink_to(work / "images" / name)
    return parts


def describe_memory(runs: list[list[tuple[float, int]]]) -> dict[str, Any]:
    """Return the peak, the course of the longest run, and by how much its last quarter exceeds its second one."""
    longest = max(runs, key=len)
    peak = max((size for run in runs for _, size in run), default=0)
    kept = longest[:: -(-len(longest) // SAMPLES) or 1]
    quarter = len(longest) // 4
    growth = None
    if quarter:
        parts = (longest[quarter : 2 * quarter], longest[-quarter:])
        second, last = (statistics.median_high(size for _, size in part) for part in parts)
        growth = last / second
    course = [[round(seconds, 1), round(size / 2**20)] for seconds, size in kept]
    return {"peak_bytes": peak, "memory_mib": course, "last_quarter_to_second": growth}


def like(ours: Path, theirs: Path) -> int:
    """Return how many masks of two runs differ in 0.1 percent of their pixels at most."""
    count = 0
    plain = {Path(image.file_name).name: image for image in read_coco(theirs / "coco.json")}
    for image in read_coco(ours / "coco.json"):
        for one, other in zip(image.records, plain[Path(image.file_name).name].records, strict=True):
            count += abs(one["area"] - other["area"]) <= max(2, 0.001 * other["area"])
    return count


def resume(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Kill a run when half of the images are done, resume it, and compare with one that was not killed."""
    workers, threads = arguments.splits[-1]
    whole, killed = work / "whole", work / "killed"
    finish(start(batch_command(work, "images", whole, workers, threads)))
    process = start(batch_command(work, "images", killed, workers, threads))
    at = wait_for_half(process, killed, arguments.count)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done, bad, _ = finish(start(batch_command(work, "images", killed, workers, threads, "--resume")))
    return {"killed_at": at, "done": done, "bad": bad, "identical": identical(whole, killed)}


def ray(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Kill one of Ray's two workers when half of the images are done, and compare with a run on one machine."""
    whole, other = work / "whole", work / "ray"
    if not whole.exists():
        finish(start(batch_command(work, "images", whole, *arguments.splits[-1])))
    begin = time.perf_counter()
    process = start(batch_command(work, "images", other, 2, 1, "--engine", "ray"))
    at = wait_for_half(process, other, arguments.count)
    actors = ray_actors(process.pid)
    os.kill(actors[0], signal.SIGKILL)
    done, bad, _ = finish(process)
    seconds = time.perf_counter() - begin
    about = {"actors": len(actors), "killed_at": at, "seconds": seconds, "done": done, "bad": bad}
    return about | {"identical": identical(whole, other)}


def wait_for_half(process: subprocess.Popen[str], out: Path, count: int) -> int:
    """Wait until half of the images have their masks; return how many have."""
    while (done := len(list(out.glob("*-masks/002.png")))) < count / 2:
        if process.poll() is not None:
            raise SystemExit(
                f"The run ended before it could be killed. Use more images (--count):\n{process.communicate()[0]}"
            )
        time.sleep(0.02)
    return done


def identical(one: Path, other: Path) -> bool:
    """Return whether two folders hold the same files, byte for byte, the journal included."""
    names = [{str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} for folder in (one, other)]
    return names[0] == names[1] and all(filecmp.cmp(one / name, other / name, shallow=False) for name in names[0])


PARTS = {"speed": speed, "camera": camera, "resume": resume, "ray": ray}


def read_split(text: str) -> tuple[int, int]:
    """Read ``2x1``: workers and threads each."""
    workers, _, threads = text.partition("x")
    return int(workers), int(threads)


def main() -> None:
    """Run the parts named and update the JSON."""
    parser = make_parser(__doc__, PARTS)
    add_photos(parser, count=500, bad=10)
    parser.add_argument("--camera", type=int, default=60, help="images of a camera's size")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the plain loop")
    parser.add_argument("--splits", type=read_split, nargs="+", default=[(1, 2), (2, 1)], help="such as 1x2 2x1")
    parser.add_argument("--turns", type=int, default=2, help="into which the images are divided, for speed")
    parser.add_argument("--scratch", type=Path, help="folder for the images; by default a temporary one")
    arguments = parser.parse_args()
    weights.ensure()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        work = Path(folder)
        make_photos(arguments.photos, work / "images", arguments.count, arguments.bad)

        def measure(part: str) -> dict[str, Any]:
            result = PARTS[part](arguments, work)
            print(part, result, flush=True)
            images = arguments.camera if part == "camera" else arguments.count
            return {"images": images, "bad": arguments.bad, "result": result}

        write_parts(arguments, measure)


if __name__ == "__main__":
    main()
