"""A long-lived process that runs one package: a JSON request a line on stdin, a JSON response a line on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from PIL import Image

from benchmarks.common import ROOT
from benchmarks.packages import OURS_ONNX, environment, generator_class, load_predictor, predict_boxes, predict_points
from benchmarks.process_tree import peak_memory

LABELS = np.array([1, 1])


class Process:
    """A worker with a package loaded; use it in a ``with`` statement.

    command: the arguments of the interpreter. variables: of the environment, besides those of the package.
    """

    def __init__(
        self,
        python: Path,
        package: str,
        weights: Path,
        threads: int,
        command: Sequence[str] = ("-m", "benchmarks.worker"),
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.package = package
        self._process = subprocess.Popen(
            [python, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**environment(threads), **variables},
        )
        self.load = self.run("load", package=package, weights=str(weights.absolute()), threads=threads)

    def run(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Run a task of :class:`Worker`.

        Return its "seconds", the process's "peak_bytes", whether "torch" is imported there, and what the task returns.
        """
        self._process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"The worker of {self.package} exited with code {self._process.wait()} in task {task}.")
        response = json.loads(line)
        if response["torch"] and self.package == OURS_ONNX:
            raise SystemExit(f"The worker of {self.package} imported torch, which it must not need.")
        return response

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Worker:
    """The tasks. Each is timed inside the process, on an image decoded before."""

    seconds: float

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds = time.perf_counter() - start

    def load(self, package: str, weights: str, threads: int) -> None:
        with self.timed():
            self.predictor = load_predictor(package, Path(weights), threads)

    def open(self, photo: str) -> None:
        with self.timed():
            self.image = np.asarray(Image.open(photo).convert("RGB"))

    def set_image(self) -> None:
        with self.timed():
            self.predictor.set_image(self.image)

    def click(self, x: float, y: float) -> None:
        """Segment one point, three masks at full size."""
        points = self._pixels([[x, y]])
        with self.timed():
            self.candidates = self.predictor.predict(points, LABELS[:1], multimask_output=True)

    def clicks(self, count: int) -> None:
        """Segment one point after another without a pause, three masks each; the time is that of one."""
        points = self._pixels(places(count))
        with self.timed():
            for point in points:
                self.predictor.predict(point[None], LABELS[:1], multimask_output=True)
        self.seconds /= count

    def refine(self, x: float, y: float) -> None:
        """Segment two points with the best mask of the last click fed back, one mask."""
        _, scores, logits = self.candidates
        points = self._pixels([[x, y], [x + 0.02, y]])
        best = int(np.argmax(scores))
        with self.timed():
            self.predictor.predict(points, LABELS, mask_input=logits[best : best + 1], multimask_output=False)

    def points(self, count: int) -> None:
        """Segment independent points on a grid, three masks each."""
        points = self._pixels(places(count))
        with self.timed():
            predict_points(self.predictor, points)

    def boxes(self, count: int) -> None:
        """Segment independent boxes, one mask each."""
        centers = places(count)
        boxes = np.concatenate([self._pixels(np.clip(centers + shift, 0, 1)) for shift in (-0.06, 0.06)], axis=1)
        with self.timed():
            predict_boxes(self.predictor, boxes)

    def everything(self, **options: Any) -> dict[str, Any]:
        """Segment everything; return the "masks" as COCO RLE."""
        generator = generator_class(self.predictor)(self.predictor.model, output_mode="coco_rle", **options)
        with self.timed():
            records = generator.generate(self.image)
        return {"masks": [record["segmentation"] for record in records]}

    def _pixels(self, places: Any) -> np.ndarray:
        """Turn shares of the width and height into pixels."""
        return np.asarray(places, dtype=np.float64) * [self.image.shape[1], self.image.shape[0]]


def places(count: int) -> np.ndarray:
    """Return (count, 2) places spread over the unit square."""
    side = int(np.ceil(np.sqrt(count)))
    steps = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)[:count]


def main(kind: type[Worker] = Worker) -> None:
    """Run requests {"task": name, ...arguments} until stdin ends; see :meth:`Process.run` for the responses."""
    responses = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keeps whatever a package prints apart from the responses
    worker = kind()
    for line in sys.stdin:
        request = json.loads(line)
        result = getattr(worker, request.pop("task"))(**request) or {}
        about = {"seconds": worker.seconds, "peak_bytes": peak_memory(), "torch": "torch" in sys.modules}
        print(json.dumps(about | result), file=responses)


if __name__ == "__main__":
    main()
