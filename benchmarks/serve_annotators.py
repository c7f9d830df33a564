"""Annotators on one ``mobilesam serve``: times of images and clicks, wrong masks, and the memory of the server.

python -m benchmarks.serve_annotators --images DIR --out benchmarks/results/serve.json prefetched direct

Each annotator opens an image every 30 seconds and clicks once a second. Afterwards every mask is compared with that of
SamPredictor. "prefetched": the images were embedded by ``mobilesam embed`` before; "direct": they were not.
"embeddings": they were, and the annotators only fetch embeddings, but for one who decodes each click where it clicks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import mobilesam
from benchmarks.common import make_parser, write_parts
from benchmarks.webui_clients import growth, resident_mb
from benchmarks.webui_latency import summary
from mobilesam.image.read import read_image
from mobilesam.masks import rle

PARTS = {"prefetched": True, "direct": False, "embeddings": True}


@dataclass
class Annotator:
    """images: opened one after the other. masks: by image and point, as COCO run lengths.

    fetches: embeddings instead of masks. predictor: decodes them for the clicks; without one, there are no clicks.
    """

    images: list[Path]
    seed: int
    fetches: bool = False
    predictor: mobilesam.SamPredictor | None = None
    image_ms: list[float] = field(default_factory=list)
    click_ms: list[float] = field(default_factory=list)
    masks: list[tuple[Path, tuple[int, int], Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def work(self, url: str, arguments: argparse.Namespace) -> None:
        """Annotate for the time of the run."""
        random = np.random.default_rng(self.seed)
        client = mobilesam.Client(url, retries=10)
        until = time.monotonic() + arguments.seconds
        next_image = time.monotonic() + random.uniform(0, arguments.image_every)  # annotators do not start together
        place = 0
        self._open(client, place)
        while time.monotonic() < until:
            start = time.monotonic()
            if start >= next_image:
                next_image += arguments.image_every
                place += 1
                self._open(client, place)
            if self.predictor or not self.fetches:
                self._click(client, place, random)
            time.sleep(max(0.0, start + arguments.click_every - time.monotonic()))

    def _open(self, client: mobilesam.Client, place: int) -> None:
        start = time.perf_counter()
        try:
            client.set_image(self.images[place % len(self.images)])
            if self.fetches:
                embedding = client.embedding()
                if self.predictor:
                    set_half(self.predictor, embedding, client.original_size)
        except Exception as error:  # any error is a result; it would end this thread unseen
            self.errors.append(repr(error))
        else:
            self.image_ms.append(1000 * (time.perf_counter() - start))

    def _click(self, client: mobilesam.Client, place: int, random: np.random.Generator) -> None:
        start = time.perf_counter()
        try:
            height, width = client.original_size
            point = int(random.integers(width)), int(random.integers(height))
            mask = (self.predictor or client).predict_one([point], [1]).masks[0]
        except Exception as error:  # as above
            self.errors.append(repr(error))
        else:
            self.click_ms.append(1000 * (time.perf_counter() - start))
            coded = rle.to_coco(rle.boundaries_of(mask), mask.shape)
            self.masks.append((self.images[place % len(self.images)], point, coded))


def set_half(predictor: mobilesam.SamPredictor, embedding: np.ndarray, original_size: tuple[int, int]) -> None:
    """Set the image of a predictor by its embedding in float16."""
    predictor.reset_image()
    predictor.original_size = original_size
    predictor.input_size = predictor.transform.get_preprocess_shape(*original_size, 1024)
    predictor.features = embedding.astype(np.float32)
    predictor.is_image_set = True


def wrong_masks(annotators: list[Annotator]) -> int:
    """Return how many masks differ from those of SamPredictor, which decodes float16 where the annotator did."""
    half = any(annotator.predictor for annotator in annotators)
    predictor, wrong = mobilesam.SamPredictor(mobilesam.load(backend="onnx")), 0
    every = sorted((each for annotator in annotators for each in annotator.masks), key=lambda each: each[0])
    current: Path | None = None
    for path, point, coded in every:
        if path != current:
            predictor.set_image(read_image(path))
            if half:
                set_half(predictor, predictor.features[0].astype(np.float16), predictor.original_size)
            current = path
        mask = predictor.predict_one([point], [1]).masks[0]
        wrong += rle.to_coco(rle.boundaries_of(mask), mask.shape) != coded
    return wrong


def measure(arguments: argparse.Namespace, *, prefetched: bool, fetches: bool = False) -> dict[str, Any]:
    """Run the annotators, and sample the memory of the server meanwhile."""
    from benchmarks.serve_process import ServeProcess

    images = sorted(path for path in arguments.images.iterdir() if path.suffix in (".jpg", ".png"))
    with tempfile.TemporaryDirectory() as folder:
        embeddings = Path(folder) / "embeddings"
        if prefetched:
            command = [sys.executable, "-m", "mobilesam", "embed", *map(str, images), "--out", str(embeddings)]
            subprocess.run([*command, "--backend", "onnx"], check=True, stdout=subprocess.DEVNULL)
        server = ServeProcess("--embeddings", str(embeddings))
        try:
            shares = [images[number :: arguments.annotators] or images for number in range(arguments.annotators)]
            annotators = [Annotator(share, seed, fetches) for seed, share in enumerate(shares)]
            if fetches:
                annotators[0].predictor = mobilesam.SamPredictor(mobilesam.load(backend="onnx"))
            threads = [threading.Thread(target=each.work, args=(server.url, arguments)) for each in annotators]
            memory = [resident_mb(server.process.pid)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                time.sleep(1)
                memory.append(resident_mb(server.process.pid))
            times = psutil.Process(server.process.pid).cpu_times()
        finally:
            code = server.stop()
    return {
        "annotators": arguments.annotators,
        "seconds": arguments.seconds,
        "images": len(images),
        "image_ms": summary([ms for each in annotators for ms in each.image_ms]),
        "click_ms": summary([ms for each in annotators for ms in each.click_ms]),
        "errors": [error for each in annotators for error in each.errors],
        "masks": sum(len(each.masks) for each in annotators),
        "wrong_masks": wrong_masks(annotators),
        "exit_code": code,
        "processor_seconds": times.user + times.system,
        "resident_mb": {"max": max(memory), "grows_mb_a_minute": growth(memory[len(memory) // 2 :])},
    }


def main() -> None:
    """Run what is named."""
    parser = make_parser(__doc__, PARTS)
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--annotators", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--image-every", type=float, default=30, help="seconds")
    parser.add_argument("--click-every", type=float, default=1, help="seconds")
    arguments = parser.parse_args()
    arguments.threads = os.cpu_count()
    write_parts(arguments, lambda name: measure(arguments, prefetched=PARTS[name], fetches=name == "embeddings"))


if __name__ == "__main__":
    main()
