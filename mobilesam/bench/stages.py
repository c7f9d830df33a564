"""The stages of one prediction, timed through SamPredictor after a warm-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mobilesam.arrays import UInt8Array
from mobilesam.bench.figures import COLORS, INK, MUTED, figure
from mobilesam.bench.timing import Stopwatch, TimedModel, quartiles
from mobilesam.errors import InputError, sentence
from mobilesam.files import atomic_path
from mobilesam.image.read import read_image
from mobilesam.model import MaskModel
from mobilesam.predictor import SamPredictor

FORMAT = "mobilesam-bench-2"
STAGES = ("read", "resize", "encode", "first decode", "decode", "upsample")


def bench_stages(
    model: MaskModel,
    image_file: Path,
    *,
    repeats: int = 10,
    warmup: int = 2,
    fast_padding: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Return median, quartiles and every value in seconds of each stage.

    The stages are "read" (file to RGB), "resize", "encode" (with normalizing and padding), "first decode" (the first
    point of an image, for which the decoder also prepares the embedding), "decode" (the next point) and "upsample"
    (three masks to the image's size).

    Raises:
        InputError: the image cannot be read, or ``repeats`` is below 1.
    """
    if repeats < 1:
        raise InputError(sentence("repeats", "be at least 1", repeats, "10 is the default"))
    watch = Stopwatch()
    predictor = SamPredictor(TimedModel(model, watch), fast_padding=fast_padding)
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    hw = (0, 0)
    for turn in range(-warmup, repeats):
        if progress:
            progress(turn + warmup, warmup + repeats)
        with watch.measure("read"):
            image = read_image(image_file)
        hw = (image.shape[0], image.shape[1])
        predictor.set_image(image)
        taken = watch.drain()
        first, later = (_predict(predictor, watch, hw, place) for place in (0.5, 0.4))
        taken |= {"first decode": first["decode"], "decode": later["decode"]}
        taken["upsample"] = first["upsample"] + later["upsample"]
        if turn >= 0:
            for stage in STAGES:
                stages[stage] += taken[stage]
    return {
        "format": FORMAT,
        "image_hw": list(hw),
        "repeats": repeats,
        "warmup": warmup,
        "stages": {stage: {**quartiles(values), "values": values} for stage, values in stages.items()},
    }


def _predict(predictor: SamPredictor, watch: Stopwatch, hw: tuple[int, int], place: float) -> dict[str, list[float]]:
    """Time the prediction of one point at a share of the width and height."""
    with watch.measure("upsample"):
        predictor.predict(point_coords=[[place * hw[1], place * hw[0]]], point_labels=[1])
    return watch.drain()


def plot_stages(stem: Path, title: str, stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Plot every value and the median of each stage, as in the result of :func:`bench_stages`, on a logarithmic axis.

    stem: see :func:`mobilesam.bench.figures.figure`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with figure(stem, 6.4, 0.9 + 0.42 * len(stages)) as drawn:
        axes = drawn.subplots()
        for row, seconds in enumerate(stages.values()):
            milliseconds, median = 1000 * np.array(seconds["values"]), 1000 * seconds["median"]
            axes.plot(milliseconds, np.full(len(milliseconds), row), "o", color=COLORS[0], alpha=0.4, markersize=5)
            axes.plot([median], [row], "|", color=INK, markersize=16, markeredgewidth=2)
            axes.annotate(f"{median:.1f}", (1.02, row), xycoords=("axes fraction", "data"), va="center")
        axes.annotate("median", (1.02, -0.8), xycoords=("axes fraction", "data"), va="center", color=MUTED)
        axes.set(title=title, xlabel="milliseconds", xscale="log", yticks=range(len(stages)), yticklabels=list(stages))
        axes.set(ylim=(len(stages) - 0.5, -0.5))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.tick_params(axis="y", length=0, labelcolor=INK)


def write_sample(path: Path, hw: tuple[int, int] = (768, 1024)) -> None:
    """Write a synthetic photo of discs on a gradient with noise, the same every time; the suffix is the format."""
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), bench_image(hw)[..., ::-1])


def bench_image(hw: tuple[int, int]) -> UInt8Array:
    """Return the image that :func:`write_sample` writes, (H, W, 3) uint8 RGB."""
    height, width = hw
    random = np.random.default_rng(0)
    image = np.empty((height, width, 3), np.uint8)
    image[...] = np.linspace(60, 190, width, dtype=np.uint8)[None, :, None]
    for _ in range(24):
        center = (int(random.integers(width)), int(random.integers(height)))
        radius = int(random.integers(max(2, min(hw) // 40), max(3, min(hw) // 8)))
        cv2.circle(image, center, radius, random.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
    noise = random.integers(-6, 7, (min(height, 256), min(width, 256), 3), dtype=np.int16)
    tiled = np.tile(noise, (height // len(noise) + 1, width // noise.shape[1] + 1, 1))[:height, :width]
    noisy: UInt8Array = np.clip(image + tiled, 0, 255).astype(np.uint8)
    return noisy
