"""Accuracy and time of each option of the predictor on the same objects, even and odd images apart.

python -m benchmarks.options --images DIR --annotations instances.json --out benchmarks/results/options.json

Padding (the square; the covered part with an empty square's embedding, or with zeros, around it), the mask returned for
one prompt, a second pass with the first mask fed back, and settings of torch for the encoder.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import mobilesam.weights
from benchmarks.common import add_dataset, in_turns, make_parser, write_result
from mobilesam.config import ALL_MASKS
from mobilesam.evaluate.clicks import center_click
from mobilesam.evaluate.coco import Instance, load_coco, read_instances
from mobilesam.evaluate.metrics import iou
from mobilesam.image.read import read_image
from mobilesam.masks import selection
from mobilesam.masks import upsampling as masks
from mobilesam.model import Embedding
from mobilesam.modeling.torch_sam import TorchSam
from mobilesam.prompts.arrays import make_prompts

PADDINGS = ("square", "empty", "zeros")
_RULES = ("agreement", "score", "single")  # benchmarks/chooser.py measures the learned one


def main() -> None:
    """Measure, and write the JSON."""
    parser = make_parser(__doc__)
    add_dataset(parser)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    model = mobilesam.load(backend="torch", device="cpu", threads=arguments.threads)
    assert isinstance(model, TorchSam)
    dataset = load_coco(arguments.annotations, arguments.images, limit=arguments.limit)
    ious: dict[str, list[dict[str, Any]]] = defaultdict(list)
    seconds = []
    for place, photo in enumerate(dataset.images):
        image = read_image(photo.path)
        embeddings, times = encode(model, image)
        square = image.shape[0] == image.shape[1]
        seconds.append({"hw": list(image.shape[:2]), **times})
        instances, _ = read_instances(photo, (image.shape[0], image.shape[1]), dataset.categories)
        for instance in instances:
            for name, value in object_ious(model, embeddings, instance):
                ious[name].append({"odd": place % 2, "square": square, "iou": value})
        print(f"{place + 1} of {len(dataset.images)}", flush=True)
    result = {
        "threads": arguments.threads,
        "mean_iou": {name: means(values) for name, values in ious.items()},
        "encode_seconds": seconds,
        "wide": wide(model, [read_image(photo.path) for photo in dataset.images[:12]]),
        "torch": settings(model),
    }
    write_result(arguments.out, result)


def encode(model: TorchSam, image: Any) -> tuple[dict[str, Embedding], dict[str, float]]:
    """Return the embeddings by padding, and the seconds of the two ways to encode."""
    model.encode(np.zeros((16, 16, 3), np.uint8), fast_padding=True)  # the empty square is made once
    embeddings, times = {}, {}
    for name, fast in (("square", False), ("empty", True)):
        start = time.perf_counter()
        embeddings[name] = model.encode(image, fast_padding=fast)
        times[name] = time.perf_counter() - start
    height, width = (-(-side // 16) for side in embeddings["empty"].input_hw)
    features = torch.zeros_like(embeddings["empty"].features)
    features[..., :height, :width] = embeddings["empty"].features[..., :height, :width]
    embeddings["zeros"] = dataclasses.replace(embeddings["empty"], features=features)
    return embeddings, times


def object_ious(model: TorchSam, embeddings: dict[str, Embedding], instance: Instance) -> Iterator[tuple[str, float]]:
    """Yield the name of each combination of options, and the IoU of its mask with the object."""
    click = center_click(instance.mask)
    prompts: dict[str, dict[str, Any]] = {
        "box": {"box": instance.box_xyxy},
        "point": {"point_coords": [[click.x, click.y]], "point_labels": [1]},
    }
    for padding in PADDINGS:
        embedding = embeddings[padding]
        for kind, prompt in prompts.items():
            logits, scores, truths = _decode(model, embedding, prompt, instance.mask)
            for rule in _RULES:
                yield f"{padding}/{kind}/{rule}", truths[selection.choose(rule, logits, scores)]
            yield f"{padding}/{kind}/best of three", max(truths[1:])
            if padding == "square":
                for rule in ("single", "agreement"):
                    first = logits[[selection.choose(rule, logits, scores)]]
                    again = _decode(model, embedding, {**prompt, "mask_input": first}, instance.mask)
                    yield f"second pass/{kind}/{rule}", again[2][0]


def _decode(model: TorchSam, embedding: Embedding, prompt: dict[str, Any], truth: Any) -> tuple[Any, Any, list[float]]:
    """Return the four masks' logits and predicted IoUs, and their true IoUs."""
    frame = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    prompts, _ = make_prompts(
        *(prompt.get(name) for name in ("point_coords", "point_labels", "box", "mask_input")), **frame
    )
    logits, scores = (part[0] for part in model.decode(embedding, prompts, ALL_MASKS))
    upsampled = masks.upsample(logits, embedding.input_hw, embedding.original_hw, model.image_size, threshold=0.0)
    return logits, scores, [iou(mask, truth) for mask in upsampled]


def means(values: list[dict[str, Any]]) -> dict[str, float | None]:
    """Return the mean IoU over all objects, those of even and odd images, and of images that are not square."""
    parts: dict[str, Callable[[dict[str, Any]], bool]] = {
        "all": lambda value: True,
        "even": lambda value: not value["odd"],
        "odd": lambda value: bool(value["odd"]),
        "not square": lambda value: not value["square"],
    }
    result = {}
    for name, belongs in parts.items():
        chosen = [value["iou"] for value in values if belongs(value)]
        result[name] = statistics.fmean(chosen) if chosen else None
    return result


def wide(model: TorchSam, images: list[Any]) -> list[dict[str, float]]:
    """Return the seconds of both ways to encode 16:9 crops."""
    rows = []
    for image in images:
        height, width = image.shape[:2]
        crop = image[: min(height, width * 9 // 16), : min(width, height * 16 // 9)]
        rows.append(encode(model, crop)[1])
    return rows


def settings(model: TorchSam, turns: int = 5) -> dict[str, list[float]]:
    """Return seconds of the encoder on one square under settings of torch, in turns after a warm-up."""
    encoder = model.sam.image_encoder
    pixels = torch.randn(1, 3, model.image_size, model.image_size, generator=torch.Generator().manual_seed(0))
    low = mobilesam.build_sam_vit_t(mobilesam.weights.ensure()).bfloat16().image_encoder

    def timed(encode: Callable[[], Any]) -> Callable[[int], float]:
        def run(turn: int) -> float:
            start = time.perf_counter()
            encode()
            return time.perf_counter() - start

        return run

    runs = {
        "as it is: channels last, batch norm folded": timed(lambda: encoder(pixels)),
        "contiguous (channels first)": timed(lambda: _contiguous(encoder, pixels)),
        "batch norm not folded": timed(lambda: _unfolded(encoder, pixels)),
        "bfloat16": timed(lambda: low(pixels.bfloat16())),
    }
    with torch.no_grad():
        return in_turns(runs, turns, warmup=1)


def _contiguous(encoder: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Run the encoder's stages on memory in the default order."""
    x = encoder.patch_embed(pixels)
    for stage in encoder.layers:
        x = stage(x.contiguous())
    return encoder.neck(x.contiguous())  # type: ignore[no-any-return]


def _unfolded(encoder: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Run the encoder with convolution and batch norm as two layers."""
    from mobilesam.modeling.tiny_vit_sam import Conv2d_BN

    folded = Conv2d_BN.forward
    try:
        Conv2d_BN.forward = lambda self, x: self.bn(self.c(x))  # type: ignore[method-assign]
        return encoder(pixels)  # type: ignore[no-any-return]
    finally:
        Conv2d_BN.forward = folded  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
