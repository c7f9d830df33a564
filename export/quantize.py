"""From a folder of float32 ONNX files to one of quantized files, with a report of what that gained and cost."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from pycocotools import mask as coco

from mobilesam.errors import InputError, sentence
from mobilesam.evaluate import Dataset, Evaluation, Settings, evaluate
from mobilesam.evaluate.runner import PromptKind
from mobilesam.export import calibration, recipes
from mobilesam.export.cases import synthetic_image
from mobilesam.export.manifest import MANIFEST, manifest
from mobilesam.export.recipes import OPERATORS, PRECISION, Recipe
from mobilesam.files import refuse_existing, write_bytes
from mobilesam.onnx import OnnxSam, metadata, recognition
from mobilesam.predictor import SamPredictor

_TURNS = 5  # of timing, each model in each
KINDS: tuple[PromptKind, ...] = ("box", "point")


@dataclass(frozen=True)
class File:
    """A file before and after.

    size, quantized_size: in bytes.
    in_int8: how many operators of each type are computed in int8.
    left_in_float: how many of each type could be, and lose too much.
    """

    name: str
    role: str
    size: int
    quantized_size: int
    in_int8: dict[str, int]
    left_in_float: dict[str, int]

    @property
    def operators(self) -> tuple[dict[str, int], dict[str, int]]:
        """Those in int8, and those that could be."""
        return self.in_int8, self.left_in_float


@dataclass(frozen=True)
class Accuracy:
    """Mean IoU of masks with the ground truth, before and after, and of the one with the other."""

    float32: float
    quantized: float
    agreement: float

    @property
    def drop(self) -> float:
        """How much mean IoU was lost."""
        return self.float32 - self.quantized


@dataclass(frozen=True)
class Report:
    """What a run made.

    seconds: by stage, "set_image" and "click": medians of the float32 and the quantized model, measured in turns.
    accuracy: by kind of prompt, if it was measured.
    """

    recipe: str
    files: tuple[File, ...]
    seconds: dict[str, tuple[float, float]]
    accuracy: dict[str, Accuracy] = field(default_factory=dict)

    @property
    def drop(self) -> float:
        """The largest loss of mean IoU."""
        return max((found.drop for found in self.accuracy.values()), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "accuracy": accuracy_json(self.accuracy)}


def accuracy_json(accuracy: Mapping[str, Accuracy]) -> dict[str, Any]:
    """Return accuracies as JSON values."""
    return {kind: {**asdict(found), "drop": found.drop} for kind, found in accuracy.items()}


def quantize(
    source: Path,
    out: Path,
    recipe: Recipe = Recipe.weights,
    *,
    calibrate: Path | None = None,
    force: bool = False,
    progress: Callable[[str], object] = lambda stage: None,
) -> list[File]:
    """Write the files of a model again, quantized.

    Args:
        source: folder of an export in float32.
        out: folder for the files and their manifest.json; made if absent.
        recipe: how; see :class:`mobilesam.export.recipes.Recipe`.
        calibrate: folder of images that the recipe "static" sees ranges on.
        force: overwrite files that exist.
        progress: called with what is under way.

    Raises:
        InputError: the source is no whole model, a file exists, or there are no images to calibrate on.
        ExportError: a file is quantized already.
        MissingDependencyError: the installed ONNX Runtime is too old for the recipe "static".
    """
    if not source.is_dir():
        raise InputError(sentence("model", "be a folder of an export", source, "write one with mobilesam export"))
    if recipe is Recipe.static and calibrate is None:
        remedy = "name a folder of photos like those to be segmented with --calibrate"
        raise InputError(sentence("calibrate", "be given for the recipe static", "none", remedy))
    if recipe is Recipe.static:
        recipes.refuse_old_runtime()
    found = recognition.whole_model(recognition.files_of(source))
    for path, model in found.values():
        recipes.refuse_quantized(model, path.name)
    if out.exists() and not out.is_dir():
        raise InputError(sentence("out", "be a folder", out, "choose another --out"))
    for name in (*(path.name for path, _ in found.values()), MANIFEST):
        refuse_existing(out / name, force=force)
    feeds: dict[str, list[recipes.Feeds]] = {}
    if recipe is Recipe.static:
        assert calibrate is not None
        progress("running the model on the images to calibrate with")
        feeds = calibration.feeds_of(found, calibration.read_images(calibrate))
    # Everything is made before anything is written.
    files, contents = [], []
    for role, (path, model) in found.items():
        progress(f"quantizing {path.name}")
        made, left = _apply(recipe, model, feeds.get(role, []))
        onnx.helper.set_model_props(made, _properties(model) | {f"{metadata.PREFIX}precision": PRECISION[recipe]})
        onnx.checker.check_model(made)
        contents.append(made.SerializeToString())
        sizes = path.stat().st_size, len(contents[-1])
        files.append(File(path.name, role, *sizes, dict(Counter(_in_int8(made))), dict(Counter(left))))
    for file, content in zip(files, contents, strict=True):
        write_bytes(out / file.name, content, force=force)
    about = manifest(out, [file.name for file in files])
    write_bytes(out / MANIFEST, json.dumps(about, indent=2).encode() + b"\n", force=force)
    return files


def _apply(recipe: Recipe, model: onnx.ModelProto, feeds: Sequence[recipes.Feeds]) -> tuple[onnx.ModelProto, list[str]]:
    """Return a quantized graph, and the type of each operator that stayed in float though it is of a quantized type."""
    if recipe is Recipe.half:
        return recipes.half(model), []
    left: list[str] = []
    if recipe is Recipe.dynamic:
        model = recipes.dynamic(model)
    elif recipe is Recipe.static:
        model, left = calibration.static(model, feeds)
    return recipes.store_weights(model), left


def _in_int8(model: onnx.ModelProto) -> list[str]:
    """Return the type of each operator that is computed in int8."""
    types = []
    decoded = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for node in model.graph.node:
        if node.op_type in ("MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"):
            types.append("MatMul")
        elif node.op_type in OPERATORS[Recipe.static] and decoded.issuperset(node.input[:2]):
            types.append(node.op_type)
    return types


def _properties(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def report(
    recipe: Recipe,
    files: Sequence[File],
    source: Path,
    out: Path,
    *,
    dataset: Dataset | None = None,
    threads: int | None = None,
    pin_threads: bool = False,
    progress: Callable[[str], object] = lambda stage: None,
) -> Report:
    """Measure a quantized model beside the one it was made from.

    Args:
        dataset: ground truth to measure accuracy on.
        threads: CPU threads of either model.
        pin_threads: see :func:`mobilesam.load`.
    """
    models = [OnnxSam.from_files(folder, "cpu", threads, pin_threads=pin_threads) for folder in (source, out)]
    progress("timing both models in turns")
    seconds = _seconds([SamPredictor(model) for model in models])
    if dataset is None:
        return Report(recipe.value, tuple(files), seconds)
    found = []
    for model, word in zip(models, ("float32", "quantized"), strict=True):
        progress(f"measuring the accuracy of the {word} model")
        found.append(measure(model, dataset))
    return Report(recipe.value, tuple(files), seconds, compare(*found))


def _seconds(predictors: Sequence[SamPredictor]) -> dict[str, tuple[float, float]]:
    image = synthetic_image("landscape")
    point = [[image.shape[1] / 2, image.shape[0] / 2]]
    taken: dict[str, list[list[float]]] = {"set_image": [[], []], "click": [[], []]}
    for _ in range(_TURNS):
        for index, predictor in enumerate(predictors):
            start = time.perf_counter()
            predictor.set_image(image)
            taken["set_image"][index].append(time.perf_counter() - start)
            predictor.predict(point, [1])  # does the image's share of the decoder's work
            start = time.perf_counter()
            predictor.predict(point, [1])
            taken["click"][index].append(time.perf_counter() - start)
    return {stage: (statistics.median(before), statistics.median(after)) for stage, (before, after) in taken.items()}


def measure(model: OnnxSam, dataset: Dataset) -> Evaluation:
    """Return the answers of a model to a box and a point for each instance of a data set."""
    return evaluate(model, dataset, Settings(prompts=KINDS))


def compare(before: Evaluation, after: Evaluation) -> dict[str, Accuracy]:
    """Return by kind of prompt what two models of one data set have of its masks, and of each other's."""
    accuracy: dict[str, Accuracy] = {}
    for kind in KINDS:
        pairs = zip(before.predicted_masks(kind), after.predicted_masks(kind), strict=True)
        shares = [coco.iou([one], [other], [0])[0, 0] for one, other in pairs]
        accuracy[kind] = Accuracy(before.mean_iou(kind), after.mean_iou(kind), float(np.mean(shares)))
    return accuracy
