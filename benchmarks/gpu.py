"""Precisions and options of a GPU: time of each stage, and masks compared with those of the CPU in float32.

    python -m benchmarks.gpu --image PHOTO --out benchmarks/results/gpu.json            on a GPU
    python -m benchmarks.gpu --image PHOTO --out /tmp/gpu.json --device cpu --turns 1   a rehearsal

A variant whose masks differ from those of the CPU by more than the gate is marked, and the exit code is 1.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import mobilesam
from benchmarks.common import in_turns, make_parser, write_result
from benchmarks.worker import places
from mobilesam.errors import MobileSamError
from mobilesam.evaluate.report import table
from mobilesam.image.read import read_image
from mobilesam.model import MaskModel
from mobilesam.prompts.arrays import make_prompts

IMAGES, POINTS = 8, 64  # in one call
GATE = 0.98  # lowest IoU of a mask with that of the CPU
_ALL = (0, 1, 2, 3)


def variants(device: str, *, compiled: bool) -> Iterator[tuple[str, Callable[[], MaskModel]]]:
    """Yield the name of each variant, and a function that loads it."""
    import torch

    def on_torch(dtype: Any, mode: str | None) -> MaskModel:
        model = mobilesam.load(backend="torch", device=device)
        model.sam.to(dtype)
        if mode:
            model.sam.image_encoder = torch.compile(model.sam.image_encoder, mode=mode)
        return model

    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        yield f"PyTorch, {name}", lambda dtype=dtype: on_torch(dtype, None)
        if compiled:
            yield f"PyTorch, {name}, compiled", lambda dtype=dtype: on_torch(dtype, "default")
            if device != "cpu":
                yield f"PyTorch, {name}, CUDA graphs", lambda dtype=dtype: on_torch(dtype, "reduce-overhead")
    yield "ONNX Runtime", lambda: mobilesam.load(backend="onnx", provider="cpu" if device == "cpu" else "cuda")


def stages(model: MaskModel, image: Any) -> dict[str, Callable[[int], float]]:
    """Return functions that time one image, several images, one point, many points and everything mode."""
    embedding = model.encode(image)
    points = prompts(embedding, POINTS)
    generator = mobilesam.SamAutomaticMaskGenerator(model, points_per_side=16, output_mode="coco_rle")

    def timed(run: Callable[[], Any], count: int = 1) -> Callable[[int], float]:
        def one(_: int) -> float:
            start = time.perf_counter()
            run()
            return (time.perf_counter() - start) / count

        return one

    return {
        "encode ms": timed(lambda: model.encode(image)),
        f"of {IMAGES} at once ms": timed(lambda: model.encode_batch([image] * IMAGES), IMAGES),
        "a point ms": timed(lambda: model.decode(embedding, points[:1], _ALL)),
        f"of {POINTS} at once ms": timed(lambda: model.decode(embedding, points, _ALL), POINTS),
        "everything, 16 x 16, ms": timed(lambda: generator.generate(image)),
    }


def prompts(embedding: Any, count: int) -> Any:
    """Return prompts of one point each, spread over an image."""
    height, width = embedding.original_hw
    coords = places(count)[:, None] * [width, height]
    hw = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    return make_prompts(coords, np.ones((count, 1)), **hw)[0]


def masks(model: MaskModel, image: Any) -> Any:
    """Return low-resolution masks of points, (points, 4, 256, 256) bool."""
    embedding = model.encode(image)
    return model.decode(embedding, prompts(embedding, POINTS), _ALL).low_res_logits > model.mask_threshold


def lowest_iou(ours: Any, theirs: Any) -> tuple[float, float]:
    """Return the mean and the lowest IoU of masks that are not empty in both."""
    union = (ours | theirs).sum(axis=(2, 3))
    ious = ((ours & theirs).sum(axis=(2, 3)) / np.maximum(union, 1))[union > 0]
    return float(ious.mean()), float(ious.min())


def main() -> int:
    """Measure each variant, print the table, and return whether one missed the gate."""
    parser = make_parser(__doc__)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="also compiled variants, which need a C++ compiler")
    arguments = parser.parse_args()
    image = read_image(arguments.image)
    expected = masks(mobilesam.load(backend="torch", device="cpu"), image)
    rows = []
    for name, load in variants(arguments.device, compiled=arguments.compile):
        try:
            model = load()
            mean, lowest = lowest_iou(masks(model, image), expected)
        except MobileSamError as error:
            print(f"{name}: {error}")
            continue
        seconds = in_turns(stages(model, image), arguments.turns, warmup=1)
        row = {"name": name, "device": model.capabilities.device, "mean_iou": mean, "lowest_iou": lowest}
        rows.append(row | {"ms": {stage: 1000 * statistics.median(each) for stage, each in seconds.items()}})
        print(rows[-1], flush=True)
    write_result(arguments.out, {"image": arguments.image.name, "gate": GATE, "rows": rows})
    head = ["", "mean IoU", "lowest IoU", *rows[0]["ms"]]
    cells = [
        [row["name"], f"{row['mean_iou']:.4f}", f"{row['lowest_iou']:.4f}", *(f"{ms:.1f}" for ms in row["ms"].values())]
        for row in rows
    ]
    print(table(head, cells))
    missed = [row["name"] for row in rows if row["lowest_iou"] < GATE]
    for name in missed:
        print(f"{name} misses the gate of {GATE}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
