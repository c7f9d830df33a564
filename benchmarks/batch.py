"""Many images: throughput against a plain loop, memory over time, a run killed and resumed, Ray with a worker lost.

python -m benchmarks.batch --photos FOLDER --out benchmarks/results/batch.json speed camera resume ray

The parts named are run and put into the file beside those that are there. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.batch_photos import make_photos
from benchmarks.process_tree import MemoryOverTime, descendants, ray_actors
from benchmarks.reference import ROOT
from mobilesam import weights
from mobilesam.bench import describe_environment
from mobilesam.formats import read_coco

PLAIN = "plain loop"
FORMATS = "coco,mask"
CAMERA_MEGAPIXELS = 12
SAMPLES = 40  # of the memory, that are kept


def split_name(workers: int, threads: int) -> str:
    """Return how the results call a split."""
    return f"{workers} x {threads}"


def plain_command(work: Path, photos: str, out: Path, threads: int) -> list[str]:
    """Return the command of the plain loop."""
    module = [sys.executable, "-m", "benchmarks.plain_loop"]
    return [*module, str(work / photos), str(work / "prompts.json"), str(out), str(threads)]


def batch_command(work: Path, photos: str, out: Path, workers: int, threads: int, *more: str) -> list[str]:
    """Return the command of a batch."""
    options = ["--prompts", str(work / "prompts.json"), "--out", str(out), "--format", FORMATS]
    options += ["--workers", str(workers), "--threads", str(threads), *more]
    return [sys.executable, "-m", "mobilesam", "batch", str(work / photos), *options]


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a command in the checkout."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Wait for a command, and return how many images it says are done, and how many are bad."""
    done, bad, _ = finish_with_errors(process)
    return done, bad


def finish_with_errors(process: subprocess.Popen[str]) -> tuple[int, int, set[str]]:
    """Do as :func:`finish`, and return the lines that say what is wrong with bad images, too."""
    told, _ = process.communicate()
    match = re.search(r"(\d+) images? done, (\d+) bad", told)
    if match is None:
        raise SystemExit(f"{' '.join(process.args[1:4])} ended with code {process.returncode}:\n{told}")
    errors = {line.removeprefix("error: ") for line in told.splitlines() if line.startswith("error: ")}
    return int(match[1]), int(match[2]), errors


def measured(command: list[str]) -> dict[str, Any]:
    """Run a command; loading the model is part of it."""
    begin = time.perf_counter()
    process = start(command)
    with MemoryOverTime(process.pid) as watched:
        done, bad = finish(process)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "done": done, "bad": bad, "memory": watched.samples}


def speed(arguments: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Run the plain loop and each split on each part of the images, in turns."""
    parts = split_photos(arguments, work)
    splits = [(workers, threads) for workers, threads in arguments.splits]
    rows: dict[str, dict[str, Any]] = {}
    for turn, part in enumerate(parts):
        commands = {PLAIN: plain_command(work, part, work / f"out-plain-{part}", arguments.threads)}
        for workers, threads in splits:
            name = split_name(workers, threads)
            commands[name] = batch_command(work, part, work / f"out-{name}-{part}", workers, threads)
        names = list(commands)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            answer = measured(commands[name])
            print(name, part, {key: answer[key] for key in ("seconds", "done", "bad")}, flush=True)
            row = rows.setdefault(name, {"name": name, "seconds": 0.0, "done": 0, "bad": 0, "memory": []})
            for key in ("seconds", "done", "bad"):
                row[key] += answer[key]
            row["memory"].append(answer["memory"])
    for name, row in rows.items():
        row["images_per_second"] = row["done"] / row["seconds"]
        row["times_plain_loop"] = rows[PLAIN]["seconds"] / row["seconds"]
        row |= describe_memory(row.pop("memory"))
        if name != PLAIN:
            folders = [(work / f"out-{name}-{part}", work / f"out-plain-{part}") for part in parts]
            row["masks_like_plain_loop"] = sum(like(*pair) for pair in folders)
    return [rows[name] for name in (PLAIN, *(name for name in rows if name != PLAIN))]


def camera(arguments: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Do as :func:`speed` with fewer images, as large as a camera makes them."""
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
    peak = max((held for run in runs for _, held in run), default=0)
    kept = longest[:: -(-len(longest) // SAMPLES) or 1]
    quarter = len(longest) // 4
    growth = None
    if quarter:
        second, last = (
            sorted(held for _, held in part) for part in (longest[quarter : 2 * quarter], longest[-quarter:])
        )
        growth = last[quarter // 2] / second[quarter // 2]
    course = [[round(seconds, 1), round(held / 2**20)] for seconds, held in kept]
    return {"peak_bytes": peak, "memory_mib": course, "last_quarter_to_second": growth}


def like(ours: Path, theirs: Path) -> int:
    """Return how many masks of two runs differ in 0.1 percent of their pixels at most."""
    count = 0
    plain = {Path(photo.file_name).name: photo for photo in read_coco(theirs / "coco.json")}
    for photo in read_coco(ours / "coco.json"):
        for one, other in zip(photo.records, plain[Path(photo.file_name).name].records, strict=True):
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
    done, bad = finish(start(batch_command(work, "images", killed, workers, threads, "--resume")))
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
    done, bad = finish(process)
    seconds = time.perf_counter() - begin
    about = {"actors": len(actors), "killed_at": at, "seconds": seconds, "done": done, "bad": bad}
    return about | {"identical": identical(whole, other)}


def wait_for_half(process: subprocess.Popen[str], out: Path, count: int) -> int:
    """Return how many images have their masks when it is half of them."""
    while (done := len(list(out.glob("*-masks/002.png")))) < count / 2:
        if process.poll() is not None:
            raise SystemExit(f"the run ended before it could be killed:\n{process.communicate()[0]}")
        time.sleep(0.02)
    assert descendants(process.pid), "it runs"
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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--count", type=int, default=500, help="images made of them")
    parser.add_argument("--camera", type=int, default=60, help="images of a camera's size")
    parser.add_argument("--bad", type=int, default=10, help="broken ones among them")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the plain loop")
    parser.add_argument("--splits", type=read_split, nargs="+", default=[(1, 2), (2, 1)], help="such as 1x2 2x1")
    parser.add_argument("--turns", type=int, default=2, help="into which the images are divided, for speed")
    parser.add_argument("--scratch", type=Path, help="folder for the images; by default one for the time being")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    weights.ensure()
    document = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        work = Path(folder)
        make_photos(arguments.photos, work / "images", arguments.count, arguments.bad)
        for part in arguments.parts:
            document[part] = {
                "images": arguments.camera if part == "camera" else arguments.count,
                "bad": arguments.bad,
                "threads": arguments.threads,
                "environment": describe_environment(),
                "result": PARTS[part](arguments, work),
            }
            print(part, document[part]["result"], flush=True)
            arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
