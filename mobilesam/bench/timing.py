"""The time of each stage, for anything that has the interface of SamPredictor."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mobilesam.arrays import UInt8Array
from mobilesam.image.model_input import resize
from mobilesam.model import Decoded, Embedding, MaskModel, Wrapped
from mobilesam.prompts.arrays import Prompts


class Stopwatch:
    """Seconds by stage. The time of a stage measured inside another one does not count for the outer one."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}
        self._inner: list[dict[str, float]] = []
        self._paused = False

    @contextlib.contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the block to ``stage``: one number for each outermost call, the sum of its inner calls."""
        if self._paused:
            yield
            return
        self._inner.append({})
        start = time.perf_counter()
        try:
            yield
        finally:
            total = time.perf_counter() - start
            taken = self._inner.pop()
            taken[stage] = taken.get(stage, 0.0) + total - sum(taken.values())
            for name, seconds in taken.items():
                if self._inner:
                    self._inner[-1][name] = self._inner[-1].get(name, 0.0) + seconds
                else:
                    self._seconds.setdefault(name, []).append(seconds)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Do not measure inside the block."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def drain(self) -> dict[str, list[float]]:
        """Return the seconds measured since the last call."""
        taken, self._seconds = self._seconds, {}
        return taken


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Return the number of values, their quartiles and their sum."""
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"calls": len(values), "median": median, "q1": q1, "q3": q3, "total": sum(values)}


class TimedModel(Wrapped):
    """A model that reports "resize", "encode" and "decode" to a stopwatch; its results are those of ``model``.

    "encode" is everything from the resized image to the embedding, "decode" everything from the prompts to the
    low-resolution logits.
    """

    def __init__(self, model: MaskModel, watch: Stopwatch) -> None:
        super().__init__(model)
        self._watch = watch

    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        """Encode an image, (H, W, 3) uint8 RGB."""
        with self._watch.measure("resize"):
            resized = resize(image, self.image_size)
        with self._watch.measure("encode"):
            embedding = self._model.encode(resized, fast_padding=fast_padding)  # nothing is left to resize
        height, width = image.shape[:2]
        return replace(embedding, original_hw=(height, width), image_digest="")

    def decode(self, embedding: Embedding, prompts: Prompts, mask_indices: Sequence[int]) -> Decoded:
        """Score and upscale."""
        with self._watch.measure("decode"):
            return self._model.decode(embedding, prompts, mask_indices)
