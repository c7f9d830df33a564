"""Calibration of static quantization: the inputs of graphs on images, and the operators that lose most in int8."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.errors import InputError, sentence
from mobilesam.export import recipes
from mobilesam.export.recipes import OPERATORS, Feeds, Recipe
from mobilesam.image.read import read_image
from mobilesam.onnx import contract, recognition
from mobilesam.onnx.encoder import ImageEncoder
from mobilesam.onnx.sessions import open_session
from mobilesam.prompts.arrays import Prompts, make_prompts

# The images that give the ranges, and the number of samples that the errors of operators are measured on.
MOST_IMAGES = 16
_SAMPLES = 2
# Adjacent operators of one type that are quantized together.
_GROUP = 8
# The largest error of the outputs with all chosen operators in int8, relative to their root mean square.
_MOST_ERROR = 0.05
_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def read_images(folder: Path) -> list[UInt8Array]:
    """Return at most :data:`MOST_IMAGES` images of a folder, evenly spread in the order of their names.

    Raises:
        InputError: it is not a folder, or has no readable image.
    """
    if not folder.is_dir():
        raise InputError(sentence("calibrate", "be a folder of images", folder, "check the path"))
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    chosen = [paths[round(index)] for index in np.linspace(0, len(paths) - 1, min(len(paths), MOST_IMAGES))]
    images, reason = [], "no image"
    for path in chosen:
        try:
            images.append(read_image(path))
        except InputError as error:
            reason = str(error)
    if not images:
        remedy = "choose a folder of images like those to be segmented"
        raise InputError(sentence("calibrate", "contain readable images", f"{folder}: {reason}", remedy))
    return images


def feeds_of(parts: recognition.Parts, images: Sequence[UInt8Array]) -> dict[str, list[Feeds]]:
    """Return the inputs of each graph of a model, by role, when points and boxes on images are segmented."""
    sessions = {role: open_session(path, "cpu") for role, (path, _) in parts.items()}
    encoder = ImageEncoder(sessions[contract.ENCODER.role], contract.IMAGE_SIZE)
    feeds: dict[str, list[Feeds]] = {role: [] for role in sessions}
    for image in images:
        pixels, input_hw = encoder.prepare(image)
        feeds["encoder"].append({encoder.input_name: pixels})
        features, height, width = encoder.run(pixels), *image.shape[:2]
        marks: list[dict[str, Any]] = [
            {"point_coords": [[x * width, y * height]], "point_labels": [1]}
            for x, y in ((0.3, 0.3), (0.7, 0.3), (0.3, 0.7), (0.7, 0.7))
        ]
        for mark in (*marks, {"box": [0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height]}):
            prompts, _ = make_prompts(**mark, original_hw=(height, width), input_hw=input_hw)
            _run_decoders(sessions, feeds, features, prompts, (height, width))
    return feeds


def _run_decoders(
    sessions: dict[str, onnxruntime.InferenceSession],
    feeds: dict[str, list[Feeds]],
    features: FloatArray,
    prompts: Prompts,
    original_hw: tuple[int, int],
) -> None:
    """Run one prompt through the decoders, and append the inputs of each graph."""
    values: Feeds = {
        "image_embeddings": features,
        "mask_input": contract.NO_MASK,
        "has_mask_input": np.zeros(1, np.float32),
        "point_coords": prompts.point_coords,
        "point_labels": prompts.point_labels,
        "orig_im_size": np.array(original_hw, np.float32),
    }
    for role in ("image", "score", "upscale", "decoder"):
        if role not in sessions:
            continue
        session = sessions[role]
        inputs = {value.name: values[value.name] for value in session.get_inputs()}
        feeds[role].append(inputs)
        if role in ("image", "score"):
            names = [value.name for value in session.get_outputs()]
            values |= dict(zip(names, session.run(names, inputs), strict=True))
        if role == "score":
            values["image_tokens"] = values["image_tokens"].reshape(1, contract.GRID_SIZE, contract.GRID_SIZE, -1)


def static(model: onnx.ModelProto, feeds: Sequence[Feeds]) -> tuple[onnx.ModelProto, list[str]]:
    """Return a graph with operators in int8, and the types of the operators that stay in float32.

    Groups of adjacent operators are quantized one at a time, and the errors of the outputs are measured on samples. The
    groups with the largest errors stay in float32, so that the sum of the other errors, as independent noise, is small
    enough.
    """
    model = recipes.with_names(model)
    groups = list(_groups(model))
    samples = [feeds[index] for index in np.linspace(0, len(feeds) - 1, min(_SAMPLES, len(feeds))).round().astype(int)]
    expected = _outputs(model, samples)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "ranges.json"
        every = [name for group in groups for name in group]
        recipes.static(model, feeds, every, cache)  # saves the ranges of all tensors
        errors = [_error(_outputs(recipes.static(model, [], group, cache), samples), expected) for group in groups]
        order = np.argsort(errors, kind="stable")
        kept = [groups[index] for index in order[np.cumsum(np.square(errors)[order]) <= _MOST_ERROR**2]]
        chosen = {name for group in kept for name in group}
        quantized = recipes.static(model, [], [name for name in every if name in chosen], cache) if chosen else model
    types = {node.name: node.op_type for node in model.graph.node}
    return quantized, [types[name] for name in every if name not in chosen]


def _groups(model: onnx.ModelProto) -> Iterator[list[str]]:
    """Yield the names of adjacent operators of one type that multiply by weights."""
    for operator in OPERATORS[Recipe.static]:
        nodes = recipes.products(model, (operator,))
        for start in range(0, len(nodes), _GROUP):
            yield nodes[start : start + _GROUP]


def _outputs(model: onnx.ModelProto, feeds: Iterable[Feeds]) -> list[list[FloatArray]]:
    session = open_session(model.SerializeToString(), "cpu")
    return [session.run(None, inputs) for inputs in feeds]


def _error(actual: list[list[FloatArray]], expected: list[list[FloatArray]]) -> float:
    """Return the largest root mean square difference of an output, relative to its root mean square."""
    return max(
        float(np.sqrt(np.square(a - e).mean() / max(float(np.square(e).mean()), 1e-12)))
        for outputs, wanted in zip(actual, expected, strict=True)
        for a, e in zip(outputs, wanted, strict=True)
    )
