"""Replicas of ``mobilesam serve --engine ray``: throughput, and processes that are killed or replaced under load.

python -m benchmarks.serve_replicas --images DIR --out benchmarks/results/replicas.json one two killed replaced

"one" and "two" replicas: clients that open images and click without pauses. "killed": a replica, an encoder and the
proxy are killed with SIGKILL, one after the other. "replaced": the server is started again on a cluster, which replaces
its processes. Afterwards every mask is compared with that of SamPredictor.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import make_parser, write_parts
from benchmarks.serve_annotators import Annotator, wrong_masks
from benchmarks.serve_process import ServeProcess
from benchmarks.webui_latency import summary

REPLICA, ENCODER, PROXY = "ServeReplica:mobilesam:Replica", "ServeReplica:mobilesam:Encoder", "ProxyActor"
BOARD = "ServeReplica:mobilesam:JobBoard"
RAY = [str(Path(sys.executable).with_name("ray"))]


def kill(name: str) -> int:
    """Kill the first of Ray's processes with a name, and return its number."""
    for process in psutil.process_iter(["cmdline"]):
        if f"ray::{name}" in " ".join(process.info["cmdline"] or ()):
            os.kill(process.pid, signal.SIGKILL)
            return process.pid
    raise RuntimeError(f"Ray has no process {name}")


def annotated(
    arguments: argparse.Namespace, url: str, seconds: float, events: dict[float, Callable[[], object]]
) -> dict[str, Any]:
    """Let annotators work for some seconds; ``events`` happen at their times."""
    images = sorted(path for path in arguments.images.iterdir() if path.suffix in (".jpg", ".png"))
    shares = [images[number :: arguments.annotators] for number in range(arguments.annotators)]
    assert all(shares), f"{len(images)} images for {arguments.annotators} annotators"
    annotators = [Annotator(share, seed) for seed, share in enumerate(shares)]
    settings = argparse.Namespace(**{**vars(arguments), "seconds": seconds})
    threads = [threading.Thread(target=each.work, args=(url, settings)) for each in annotators]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for at, event in sorted(events.items()):
        time.sleep(max(0.0, start + at - time.monotonic()))
        event()
    for thread in threads:
        thread.join()
    took = time.monotonic() - start
    clicks = [ms for each in annotators for ms in each.click_ms]
    opened = [ms for each in annotators for ms in each.image_ms]
    return {
        "annotators": arguments.annotators,
        "seconds": round(took, 1),
        "image_ms": summary(opened),
        "click_ms": summary(clicks),
        "images_a_minute": 60 * len(opened) / took,
        "clicks_a_second": len(clicks) / took,
        "lost": [error for each in annotators for error in each.errors],
        "masks": sum(len(each.masks) for each in annotators),
        "wrong_masks": wrong_masks(annotators),
    }


def measure(arguments: argparse.Namespace, part: str) -> dict[str, Any]:
    """Run a part."""
    replicas = 1 if part == "one" else 2
    with tempfile.TemporaryDirectory() as folder:
        options = ["--engine", "ray", "--replicas", str(replicas), "--embeddings", folder, "--rate", "1000"]
        if part == "replaced":
            return replaced(arguments, options)
        server = ServeProcess(*options)
        try:
            if part == "killed":
                step = arguments.seconds / 4
                names = (REPLICA, ENCODER, PROXY)
                events = {step * (place + 1): lambda name=name: kill(name) for place, name in enumerate(names)}
            else:
                arguments.image_every, arguments.click_every = arguments.busy_image_every, 0
                events = {}
            result = annotated(arguments, server.url, arguments.seconds, events)
        finally:
            code = server.stop()
    return {"replicas": replicas, **result, "exit_code": code}


def replaced(arguments: argparse.Namespace, options: list[str]) -> dict[str, Any]:
    """Replace the processes of a server on a cluster."""
    started = [*RAY, "start", "--head", "--num-cpus", "8", "--include-dashboard", "false", "--disable-usage-stats"]
    subprocess.run(started, check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, "-m", "mobilesam", "serve", "--backend", "onnx", "--port", "8765", *options]
    command += ["--ray-address", "auto"]

    def deploy() -> None:
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)

    try:
        deploy()
        before = _processes()
        result = annotated(arguments, "http://127.0.0.1:8765", arguments.seconds, {arguments.seconds / 4: deploy})
        return {"replicas": 2, **result, "kept_processes": len(before & _processes())}
    finally:
        subprocess.run([*RAY, "stop", "--force"], check=True, stdout=subprocess.DEVNULL)


def _processes() -> set[int]:
    return {
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "ray::ServeReplica" in " ".join(process.info["cmdline"] or ())
    }


def main() -> None:
    """Run what is named."""
    parser = make_parser(__doc__, {"one": 1, "two": 2, "killed": 2, "replaced": 2})
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--annotators", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=80)
    parser.add_argument("--image-every", type=float, default=15, help="seconds")
    parser.add_argument("--click-every", type=float, default=1, help="seconds")
    parser.add_argument("--busy-image-every", type=float, default=5, help="seconds, with clicks without pauses")
    arguments = parser.parse_args()
    arguments.threads = os.cpu_count()
    write_parts(arguments, lambda part: measure(argparse.Namespace(**vars(arguments)), part))


if __name__ == "__main__":
    main()
