"""A long-lived process that runs one package: a JSON request a line on stdin, a JSON answer a line on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.packages import load_predictor, predict_boxes, predict_points

LABELS = np.array([1, 1])


class Worker:
    """The tasks, each timed inside the process, on an image decoded before."""

    def load(self, package: str, weights: str, threads: int) -> float:
        start = time.perf_counter()
        self.predictor = load_predictor(package, Path(weights), threads)
        return time.perf_counter() - start

    def open(self, photo: str) -> float:
        start = time.perf_counter()
        self.image = np.asarray(Image.open(photo).convert("RGB"))
        return time.perf_counter() - start

    def set_image(self) -> float:
        start = time.perf_counter()
        self.predictor.set_image(self.image)
        return time.perf_counter() - start

    def click(self, x: float, y: float) -> float:
        """One point, three masks at full size."""
        points = self._pixels([[x, y]])
        start = time.perf_counter()
        self.answer = self.predictor.predict(points, LABELS[:1], multimask_output=True)
        return time.perf_counter() - start

    def clicks(self, count: int) -> float:
        """One point after another without a pause, three masks at full size each: the time of one."""
        points = self._pixels(_grid(count))
        start = time.perf_counter()
        for point in points:
            self.predictor.predict(point[None], LABELS[:1], multimask_output=True)
        return (time.perf_counter() - start) / count

    def refine(self, x: float, y: float) -> float:
        """A second point with the best mask of the last click fed back, one mask."""
        _, scores, logits = self.answer
        points = self._pixels([[x, y], [x + 0.02, y]])
        best = int(np.argmax(scores))
        start = time.perf_counter()
        self.predictor.predict(points, LABELS, mask_input=logits[best : best + 1], multimask_output=False)
        return time.perf_counter() - start

    def points(self, count: int) -> float:
        """Independent points on a grid, three masks each."""
        points = self._pixels(_grid(count))
        start = time.perf_counter()
        predict_points(self.predictor, points)
        return time.perf_counter() - start

    def boxes(self, count: int) -> float:
        """Independent boxes, one mask each."""
        centers = _grid(count)
        boxes = np.concatenate([self._pixels(np.clip(centers + shift, 0, 1)) for shift in (-0.06, 0.06)], axis=1)
        start = time.perf_counter()
        predict_boxes(self.predictor, boxes)
        return time.perf_counter() - start

    def _pixels(self, places: Any) -> np.ndarray:
        """Turn shares of the width and height into pixels."""
        return np.asarray(places, dtype=np.float64) * [self.image.shape[1], self.image.shape[0]]


def peak_memory() -> int | None:
    """Return the most memory this process has held, in bytes; None where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: ru_maxrss would begin with the peak of the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _grid(count: int) -> np.ndarray:
    """Return (count, 2) places spread over the unit square."""
    side = int(np.ceil(np.sqrt(count)))
    steps = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)[:count]


def main() -> None:
    """Answer requests {"do": task, ...arguments} with {"seconds", "peak_bytes", "torch"} until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a package prints must not be taken for an answer
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        seconds = getattr(worker, request.pop("do"))(**request)
        answer = {"seconds": seconds, "peak_bytes": peak_memory(), "torch": "torch" in sys.modules}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
