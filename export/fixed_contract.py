"""What an app has to know of graphs of fixed shapes, and inputs and outputs for its self-test."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np

from mobilesam.arrays import Array, UInt8Array
from mobilesam.config import ALL_MASKS, MASK_THRESHOLD
from mobilesam.export.cases import frame_image, synthetic_image
from mobilesam.image.model_input import PIXEL_MEAN, PIXEL_STD, encoder_input
from mobilesam.masks import chooser
from mobilesam.model import Decoded, Embedding
from mobilesam.modeling.torch_sam import TorchSam
from mobilesam.onnx import contract, fixed
from mobilesam.prompts import arrays as prompts

GOLDEN = "golden.npz"
# Largest differences of a self-test on the golden inputs from the outputs, which are those of the network.
_TOLERANCES = {
    "float32": {"image_embeddings": 1e-3, "low_res_masks": 0.05, "iou_predictions": 1e-3, "confidences": 1e-3},
    "float16": {"image_embeddings": 5e-3, "low_res_masks": 0.5, "iou_predictions": 0.01, "confidences": 1e-3},
    "int8": {"image_embeddings": 0.05, "low_res_masks": 6.0, "iou_predictions": 0.1, "confidences": 1e-3},
}


def tolerances(runtime: str, precision: str) -> dict[str, float]:
    """Return the largest differences that a self-test allows, by output."""
    # CoreML computes in float16 where weights have less precision.
    return _TOLERANCES["int8" if runtime == "coreml" and precision != "float32" else precision]


def preprocessing(frame_hw: tuple[int, int]) -> dict[str, Any]:
    """Return how an app makes the input of the encoder, in order."""
    height, width = frame_hw
    return {
        "channels": "RGB",
        "resize": f"longer side to {contract.IMAGE_SIZE}, bilinear with antialiasing; sides are floor(side + 0.5)",
        "largest_resized": {"height": height, "width": width},
        "normalize": "(pixel - mean) / std, pixels in 0..255",
        "mean": PIXEL_MEAN,
        "std": PIXEL_STD,
        "padding": f"zeros to the right and below, to {height}x{width}, after normalization",
        "layout": "NCHW",
    }


def prompt_rules(points: int) -> dict[str, Any]:
    """Return how an app fills the slots of a prompt, and takes a mask."""
    return {
        "coordinates": "x * resized width / width, y * resized height / height",
        "slots": points + fixed.EXTRA_SLOTS,
        "labels": {
            "foreground": prompts.FOREGROUND,
            "background": prompts.BACKGROUND,
            "box_upper_left": prompts.BOX_START,
            "box_lower_right": prompts.BOX_END,
            "padding": prompts.PADDING,
            "absent": prompts.ABSENT,
        },
        "order": "points, then the corners of a box, or without a box one padding point at (0, 0); then absent slots",
        "mask": "one foreground point without mask_input: that of the largest confidence of the chooser, or else of "
        "the largest of iou_predictions 1 to 3; any other prompt: mask 0",
        "mask_threshold": MASK_THRESHOLD,
        "postprocessing": f"logits to {contract.IMAGE_SIZE}x{contract.IMAGE_SIZE}, crop to the resized image, resize "
        "to the image, both bilinear with half-pixel centers; then the threshold",
        "block_rows": fixed.BLOCK_ROWS,
    }


def golden(reference: TorchSam, points: int, frame_hw: tuple[int, int], *, choose: bool) -> bytes:
    """Return an archive of an image, its embedding, and two prompts: a click, and a box with a point and a mask.

    Args:
        reference: the network.
        points, frame_hw: of :func:`mobilesam.onnx.fixed.graphs`.
        choose: whether there is a chooser, whose confidences for the click are added.
    """
    height, width = frame_hw
    is_square = height == width
    image: UInt8Array = synthetic_image("landscape") if is_square else frame_image(frame_hw)
    pixels, input_hw = encoder_input(image, contract.IMAGE_SIZE)
    embedding = reference.encode(image, fast_padding=not is_square)
    across, down = input_hw[1], input_hw[0]
    click = _prompt([(0.3 * across, 0.6 * down), (0, 0)], [prompts.FOREGROUND, prompts.PADDING])
    decoded = reference.decode(embedding, click, ALL_MASKS)
    best = decoded.low_res_logits[:, [int(decoded.iou_predictions[0].argmax())]]
    corners = [(0.45 * across, 0.7 * down), (0.2 * across, 0.25 * down), (0.7 * across, 0.8 * down)]
    labels = [prompts.BACKGROUND, prompts.BOX_START, prompts.BOX_END]
    box = replace(_prompt(corners, labels), mask_input=best)
    values: dict[str, Array] = {
        "image": image,
        "input_image": pixels[:, :, :height, :width],
        "image_embeddings": reference.dump_features(embedding.features),
        "orig_im_size": np.array(embedding.original_hw, np.float32),
        **_named("click", click, decoded, points),
        **_named("box", box, reference.decode(embedding, box, ALL_MASKS), points),
    }
    if choose:
        values["click_confidences"] = _confidences(reference, embedding, click, decoded)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)  # type: ignore[arg-type]
    return buffer.getvalue()


def _prompt(coords: list[tuple[float, float]], labels: list[int]) -> prompts.Prompts:
    return prompts.Prompts(np.array([coords], np.float32), np.array([labels], np.float32))


def _named(name: str, prompt: prompts.Prompts, decoded: Decoded, points: int) -> dict[str, Array]:
    """Return the inputs of the decoder, whose last slots are absent, and its outputs."""
    mask, rest = prompt.mask_input, points + fixed.EXTRA_SLOTS - prompt.point_labels.shape[1]
    values = {
        "point_coords": np.pad(prompt.point_coords, [(0, 0), (0, rest), (0, 0)]),
        "point_labels": np.pad(prompt.point_labels, [(0, 0), (0, rest)], constant_values=prompts.ABSENT),
        "mask_input": contract.NO_MASK if mask is None else mask,
        "has_mask_input": np.array([mask is not None], np.float32),
        "low_res_masks": decoded.low_res_logits,
        "iou_predictions": decoded.iou_predictions,
    }
    return {f"{name}_{key}": value for key, value in values.items()}


def _confidences(reference: TorchSam, embedding: Embedding, click: prompts.Prompts, decoded: Decoded) -> Array:
    logits, ious = (part[0] for part in decoded)
    learned = reference.choosers.point.arrays
    return chooser.confidences(logits, ious, click.point_coords[0, 0], embedding.input_hw, learned=learned)[None]
