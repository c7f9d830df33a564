"""What the graphs of a model are given while it segments images, and which of their operators bear rounding least."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.errors import InputError, sentence
from mobilesam.export import recipes
from mobilesam.export.recipes import OPERATORS, Feeds, Recipe
from mobilesam.image.read import read_image
from mobilesam.model import Embedding
from mobilesam.onnx import contract, recognition
from mobilesam.onnx.encoder import ImageEncoder
from mobilesam.onnx.sessions import open_session
from mobilesam.prompts.arrays import make_prompts

# Images that ranges are seen on, and those of them that operators are judged by.
MOST_IMAGES = 16
_JUDGES = 2
# Operators judged together: neighbors of one type.
_GROUP = 8
# How far the outputs may be off when what loses least is in int8, as a share of their root mean square.
_MOST_ERROR = 0.05
_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def read_images(folder: Path) -> list[UInt8Array]:
    """Return at most :data:`MOST_IMAGES` of a folder's images, evenly spread over their names' order.

    Raises:
        InputError: the folder is none, or has no image that can be read.
    """
    if not folder.is_dir():
        raise InputError(sentence("calibration", "be a folder of images", folder, "check the path"))
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    chosen = [paths[round(index)] for index in np.linspace(0, len(paths) - 1, min(len(paths), MOST_IMAGES))]
    images, reason = [], "no image"
    for path in chosen:
        try:
            images.append(read_image(path))
        except InputError as error:
            reason = str(error)
    if not images:
        remedy = "choose a folder of photos like those to be segmented"
        raise InputError(sentence("calibration", "hold images that can be read", f"{folder}: {reason}", remedy))
    return images


def feeds_of(found: recognition.Found, images: Sequence[UInt8Array]) -> dict[str, list[Feeds]]:
    """Return for each role of a model what its graph is given when points and boxes on images are segmented."""
    sessions = {role: open_session(path, "cpu") for role, (path, _) in found.items()}
    encoder = ImageEncoder(sessions[contract.ENCODER.role], contract.IMAGE_SIZE)
    feeds: dict[str, list[Feeds]] = {role: [] for role in sessions}
    for image in images:
        pixels, input_hw = encoder.prepare(image)
        feeds["encoder"].append({encoder.input_name: pixels})
        hw = (image.shape[0], image.shape[1])
        embedding = Embedding(encoder.run(pixels), hw, input_hw)
        for coords, labels in _prompts(embedding):
            _follow(sessions, feeds, embedding, coords, labels)
    return feeds


def _prompts(embedding: Embedding) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield one prompt at a time as the graphs take it: points in the four quarters, and a box."""
    height, width = embedding.original_hw
    sizes = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    for x, y in ((0.3, 0.3), (0.7, 0.3), (0.3, 0.7), (0.7, 0.7)):
        prompts, _ = make_prompts([[x * width, y * height]], [1], **sizes)
        yield prompts.point_coords, prompts.point_labels
    prompts, _ = make_prompts(box=[0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height], **sizes)
    yield prompts.point_coords, prompts.point_labels


def _follow(
    sessions: dict[str, onnxruntime.InferenceSession],
    feeds: dict[str, list[Feeds]],
    embedding: Embedding,
    coords: FloatArray,
    labels: FloatArray,
) -> None:
    """Run one prompt through the decoders that are there, and note what each graph is given."""
    side = contract.IMAGE.inputs[1].shape[-1]
    assert isinstance(side, int)
    values: Feeds = {
        "image_embeddings": embedding.features,
        "mask_input": np.zeros((1, 1, side, side), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        "point_coords": coords,
        "point_labels": labels,
        "orig_im_size": np.array(embedding.original_hw, np.float32),
    }
    for role in ("image", "score", "upscale", "decoder"):
        if role not in sessions:
            continue
        session = sessions[role]
        given = {value.name: values[value.name] for value in session.get_inputs()}
        feeds[role].append(given)
        if role in ("image", "score"):
            names = [value.name for value in session.get_outputs()]
            values |= dict(zip(names, session.run(names, given), strict=True))
        if role == "score":
            values["image_tokens"] = values["image_tokens"].reshape(1, contract.GRID_SIZE, contract.GRID_SIZE, -1)


def static(model: onnx.ModelProto, feeds: Sequence[Feeds]) -> tuple[onnx.ModelProto, list[str]]:
    """Compute in int8 what bears it, and return the graph with the types of the operators that stayed in float32.

    Neighboring operators are quantized by themselves and the error of the outputs measured on samples; the groups that
    lose most stay in float32, until the others' errors together, as independent noise, are small enough.
    """
    model = recipes.with_names(model)
    groups = list(_groups(model))
    judges = [feeds[index] for index in np.linspace(0, len(feeds) - 1, min(_JUDGES, len(feeds))).round().astype(int)]
    wanted = _outputs(model, judges)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "ranges.json"
        every = [name for group in groups for name in group]
        recipes.static(model, feeds, every, cache)  # sees the ranges of all tensors
        errors = [_error(_outputs(recipes.static(model, [], group, cache), judges), wanted) for group in groups]
        order = np.argsort(errors, kind="stable")
        kept = [groups[index] for index in order[np.cumsum(np.square(errors)[order]) <= _MOST_ERROR**2]]
        chosen = {name for group in kept for name in group}
        quantized = recipes.static(model, [], [name for name in every if name in chosen], cache) if chosen else model
    types = {node.name: node.op_type for node in model.graph.node}
    return quantized, [types[name] for name in every if name not in chosen]


def _groups(model: onnx.ModelProto) -> Iterator[list[str]]:
    """Yield names of neighboring operators of one type that multiply by weights."""
    for operator in OPERATORS[Recipe.static]:
        nodes = recipes.products(model, (operator,))
        for start in range(0, len(nodes), _GROUP):
            yield nodes[start : start + _GROUP]


def _outputs(model: onnx.ModelProto, feeds: Iterable[Feeds]) -> list[list[FloatArray]]:
    session = open_session(model.SerializeToString(), "cpu")
    return [session.run(None, given) for given in feeds]


def _error(actual: list[list[FloatArray]], expected: list[list[FloatArray]]) -> float:
    """Return the largest difference of an output, in root mean squares, as a share of its own."""
    shares = [
        float(np.sqrt(np.square(a - e).mean() / max(float(np.square(e).mean()), 1e-12)))
        for run, wanted in zip(actual, expected, strict=True)
        for a, e in zip(run, wanted, strict=True)
    ]
    return max(shares)
