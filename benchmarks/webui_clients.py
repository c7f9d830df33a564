"""Many clients of the page at once: errors, masks of a wrong image, and the memory of the server.

python -m benchmarks.webui_clients --out benchmarks/results/webui_clients.json

Each client is a ``gradio_client`` with an image of its own. It requests masks at points of its own and compares each
one with that of SamPredictor, computed before the server was started. The server is on loopback.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

from benchmarks.webui_latency import summary
from benchmarks.webui_server import Server
from mobilesam.bench import describe_environment

SIDE = 480  # of the images
POINTS = 4  # of each client
SAME = 0.99  # least IoU of two masks that differ only by rounding
PREDICTIONS = 8  # before the image is opened again
SAMPLE_EVERY = 1.0  # seconds


@dataclass
class Client:
    """A client: its image, its points and the masks expected there, and its measurements."""

    image: Path
    points: list[list[int]]
    expected: list[dict[str, Any]]
    encode_ms: list[float] = field(default_factory=list)
    predict_ms: list[float] = field(default_factory=list)
    least_iou: float = 1.0
    wrong: int = 0
    errors: list[str] = field(default_factory=list)

    def work(self, url: str, until: float, pause: float) -> None:
        """Open the image and request masks, again and again."""
        import gradio_client

        try:
            client = gradio_client.Client(url, verbose=False)
            while time.monotonic() < until:
                start = time.perf_counter()
                token = client.predict(gradio_client.handle_file(self.image), None, api_name="/encode")["session"]
                self.encode_ms.append(round(1000 * (time.perf_counter() - start), 1))
                for number in range(PREDICTIONS):
                    if time.monotonic() < until:
                        self.predict(client, token, number % POINTS)
                        time.sleep(pause)
        except Exception as error:  # any error is a result, with which the run fails at the end
            self.errors.append(f"{type(error).__name__}: {error}")

    def predict(self, client: Any, token: str, number: int) -> None:
        """Request one mask and compare it."""
        from pycocotools import mask as coco

        start = time.perf_counter()
        response = client.predict(token, [[*self.points[number], 1]], None, api_name="/predict")
        self.predict_ms.append(round(1000 * (time.perf_counter() - start), 1))
        mask = response["masks"][0]["segmentation"]
        iou = float(coco.iou([mask], [self.expected[number]], [0])[0, 0])
        self.least_iou = min(self.least_iou, iou)
        self.wrong += iou < SAME


def make_clients(count: int, folder: Path) -> list[Client]:
    """Return clients with different images and the masks of SamPredictor for them."""
    import mobilesam
    from mobilesam.masks import rle

    random = np.random.default_rng(0)
    predictor = mobilesam.SamPredictor(mobilesam.load(backend="onnx"))
    photos = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    clients = []
    for number in range(count):
        photo = Image.fromarray(photos[number % len(photos)]).resize((SIDE, SIDE))
        path = folder / f"{number}.png"
        photo.rotate(90 * (number // len(photos))).save(path)
        predictor.set_image(path)
        points = random.integers(SIDE // 10, SIDE - SIDE // 10, (POINTS, 2)).tolist()
        masks = [predictor.predict_one([point], [1]).masks[0] for point in points]
        expected = [rle.to_coco(rle.boundaries_of(mask), mask.shape) for mask in masks]
        clients.append(Client(path, points, expected))
    return clients


def resident_mb(process: int) -> float:
    """Return a process's resident memory."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return round(int(line.split()[1]) * 1024 / 1e6, 1)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the clients, and sample the memory of the server meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        clients = make_clients(arguments.clients, Path(folder))
        server = Server("--backend", "onnx", "--cache-mb", str(arguments.cache_mb))
        try:
            until = time.monotonic() + arguments.seconds
            terms = (server.url, until, arguments.pause)
            threads = [threading.Thread(target=client.work, args=terms) for client in clients]
            memory = [resident_mb(server.process.pid)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                time.sleep(SAMPLE_EVERY)
                memory.append(resident_mb(server.process.pid))
        finally:
            code = server.stop()
    half = len(memory) // 2
    return {
        "environment": describe_environment(),
        "clients": arguments.clients,
        "seconds": arguments.seconds,
        "pause_seconds": arguments.pause,
        "cache_mb": arguments.cache_mb,
        "errors": [error for client in clients for error in client.errors],
        "wrong_masks": sum(client.wrong for client in clients),
        "least_iou": min(client.least_iou for client in clients),
        "encode_ms": summary([ms for client in clients for ms in client.encode_ms]),
        "predict_ms": summary([ms for client in clients for ms in client.predict_ms]),
        "server": {
            "exit_code": code,
            "traceback": "Traceback" in "".join(server.log),
            "resident_mb": {
                "before": memory[0],
                "median_of_second_half": float(np.median(memory[half:])),
                "max": max(memory),
                "grows_mb_a_minute_in_second_half": growth(memory[half:]),
                "values": memory,
            },
        },
    }


def growth(memory: list[float]) -> float:
    """Return the slope of a line through the samples, in MB a minute."""
    if len(memory) < 2:
        return 0.0
    slope = np.polyfit(np.arange(len(memory)) * SAMPLE_EVERY / 60, memory, 1)[0]
    return round(float(slope), 2)


def main() -> None:
    """Measure, write the JSON, and fail if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds after each response")
    parser.add_argument("--cache-mb", type=int, default=512)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    document = measure(arguments)
    arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    server, predict = document["server"], document["predict_ms"]
    print(
        f"{len(predict['values'])} masks, {document['wrong_masks']} wrong, {len(document['errors'])} errors;", end=" "
    )
    print(f"median {predict['median']} ms, p95 {predict['p95']} ms; exit code {server['exit_code']};", end=" ")
    print({key: value for key, value in server["resident_mb"].items() if key != "values"})
    if document["errors"] or document["wrong_masks"] or server["traceback"] or server["exit_code"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
