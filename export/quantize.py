"""Quantize a folder of float32 ONNX files, and report the changes of size, time and accuracy."""

from __future__ import annotations

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

from mobilesam.config import DEFAULT
from mobilesam.errors import InputError, sentence
from mobilesam.evaluate import Dataset, Evaluation, Settings, evaluate
from mobilesam.evaluate.runner import PromptKind
from mobilesam.export import calibration, recipes
from mobilesam.export.cases import synthetic_image
from mobilesam.export.manifest import refuse_files, write_files
from mobilesam.export.recipes import OPERATORS, PRECISION, Recipe
from mobilesam.masks import choosers
from mobilesam.masks.selection import LEARNED
from mobilesam.onnx import OnnxSam, contract, metadata, recognition
from mobilesam.predictor import SamPredictor

_TURNS = 5  # of timing; the models are timed alternately
KINDS: tuple[PromptKind, ...] = ("box", "point")


@dataclass(frozen=True)
class File:
    """A file before and after quantization.

    size, quantized_size: in bytes.
    in_int8: the number of operators of each type that are computed in int8.
    left_in_float: the number of each type that stay in float because they lose too much.
    """

    name: str
    role: str
    size: int
    quantized_size: int
    in_int8: dict[str, int]
    left_in_float: dict[str, int]


@dataclass(frozen=True)
class Accuracy:
    """Mean IoU with the ground truth before and after quantization, and mean IoU of the two models' masks."""

    float32: float
    quantized: float
    agreement: float

    @property
    def drop(self) -> float:
        """The loss of mean IoU."""
        return self.float32 - self.quantized


@dataclass(frozen=True)
class Report:
    """The report of a quantization.

    seconds: by stage, "set_image" and "click": the medians of the float32 and the quantized model.
    accuracy: by kind of prompt, if it was measured.
    """

    recipe: str
    files: tuple[File, ...]
    seconds: dict[str, tuple[float, float]]
    accuracy: dict[str, Accuracy] = field(default_factory=dict)

    @property
    def drop(self) -> float:
        """The largest loss of mean IoU."""
        return max((each.drop for each in self.accuracy.values()), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "accuracy": accuracy_json(self.accuracy)}


def accuracy_json(accuracy: Mapping[str, Accuracy]) -> dict[str, Any]:
    """Return accuracies as JSON values."""
    return {kind: {**asdict(each), "drop": each.drop} for kind, each in accuracy.items()}


def quantize(
    source: Path,
    out: Path,
    recipe: Recipe = Recipe.weights,
    *,
    calibrate: Path | None = None,
    force: bool = False,
    progress: Callable[[str], object] = lambda stage: None,
) -> list[File]:
    """Write quantized copies of the files of a model, with a copy of its choosers.

    Args:
        source: folder of an export in float32.
        out: folder for the files and their manifest.json; created if absent.
        recipe: see :class:`mobilesam.export.recipes.Recipe`.
        calibrate: folder of images for the ranges of the recipe "static".
        force: overwrite files that exist.
        progress: called with a description of each stage.

    Raises:
        InputError: the source is not a complete model, a file exists, or there are no images for calibration.
        ExportError: a file is quantized already.
        MissingDependencyError: the installed ONNX Runtime is too old for the recipe "static".
    """
    if not source.is_dir():
        raise InputError(sentence("model", "be the folder of an export", source, "write one with mobilesam export"))
    if recipe is Recipe.static:
        if calibrate is None:
            remedy = "give a folder of images like those to be segmented with --calibrate"
            raise InputError(sentence("calibrate", "be given for the recipe static", "none", remedy))
        recipes.refuse_old_runtime()
    parts = recognition.whole_model(recognition.files_of(source))
    for path, model in parts.values():
        recipes.refuse_quantized(model, path.name)
        network = metadata.of(model).get("model", DEFAULT)
        if metadata.of(model).get("masks") == LEARNED:
            remedy = "export the decoder without --select learned, and the part chooser"
            raise InputError(sentence("model", "have no chooser in a graph to be quantized", path, remedy))
        if network != DEFAULT:
            remedy = "use its float32 files: the recipes are measured for MobileSAM alone"
            raise InputError(sentence("model", f"be an export of {DEFAULT}", f"one of {network} ({path})", remedy))
    if out.exists() and not out.is_dir():
        raise InputError(sentence("out", "be a folder", out, "choose another --out"))
    weights_id = metadata.of(parts[contract.ENCODER.role][1]).get("weights_sha256", "")
    own = choosers.content_of(choosers.find(source, lambda: weights_id), weights_id)
    others = {} if own is None else {choosers.NAME: own}
    refuse_files(out, [*(path.name for path, _ in parts.values()), *others], force=force)
    feeds: dict[str, list[recipes.Feeds]] = {}
    if recipe is Recipe.static and calibrate is not None:
        progress("running the model on the calibration images")
        feeds = calibration.feeds_of(parts, calibration.read_images(calibrate))
    # All files are quantized before any file is written.
    files, contents = [], {}
    for role, (path, model) in parts.items():
        if role in [graph.role for graph in contract.LEARNED]:  # small
            contents[path.name] = path.read_bytes()
            continue
        progress(f"quantizing {path.name}")
        quantized, left = _apply(recipe, model, feeds.get(role, []))
        properties = {entry.key: entry.value for entry in model.metadata_props}
        onnx.helper.set_model_props(quantized, properties | {f"{metadata.PREFIX}precision": PRECISION[recipe]})
        onnx.checker.check_model(quantized)
        contents[path.name] = quantized.SerializeToString()
        sizes = path.stat().st_size, len(contents[path.name])
        files.append(File(path.name, role, *sizes, dict(Counter(_in_int8(quantized))), dict(Counter(left))))
    write_files(out, contents | others, force=force)
    return files


def _apply(recipe: Recipe, model: onnx.ModelProto, feeds: Sequence[recipes.Feeds]) -> tuple[onnx.ModelProto, list[str]]:
    """Return a quantized graph, and the types of the operators that stay in float because they lose too much."""
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
    """Compare a quantized model with the model in ``source``.

    Args:
        dataset: ground truth for the accuracy.
        threads: CPU threads of each model.
        pin_threads: see :func:`mobilesam.load`.
    """
    models = [OnnxSam.from_files(folder, "cpu", threads, pin_threads=pin_threads) for folder in (source, out)]
    progress("timing both models alternately")
    seconds = _seconds([SamPredictor(model) for model in models])
    if dataset is None:
        return Report(recipe.value, tuple(files), seconds)
    evaluations = []
    for model, name in zip(models, ("float32", "quantized"), strict=True):
        progress(f"measuring the accuracy of the {name} model")
        evaluations.append(measure(model, dataset))
    return Report(recipe.value, tuple(files), seconds, compare(*evaluations))


def _seconds(predictors: Sequence[SamPredictor]) -> dict[str, tuple[float, float]]:
    image = synthetic_image("landscape")
    point = [[image.shape[1] / 2, image.shape[0] / 2]]
    taken: dict[str, list[list[float]]] = {"set_image": [[], []], "click": [[], []]}
    for _ in range(_TURNS):
        for index, predictor in enumerate(predictors):
            start = time.perf_counter()
            predictor.set_image(image)
            taken["set_image"][index].append(time.perf_counter() - start)
            predictor.predict(point, [1])  # prepares the image tokens
            start = time.perf_counter()
            predictor.predict(point, [1])
            taken["click"][index].append(time.perf_counter() - start)
    return {stage: (statistics.median(before), statistics.median(after)) for stage, (before, after) in taken.items()}


def measure(model: OnnxSam, dataset: Dataset) -> Evaluation:
    """Evaluate a model with a box and a point for each instance of a data set."""
    return evaluate(model, dataset, Settings(prompts=KINDS))


def compare(before: Evaluation, after: Evaluation) -> dict[str, Accuracy]:
    """Return the accuracies of two models on one data set, by kind of prompt."""
    accuracy: dict[str, Accuracy] = {}
    for kind in KINDS:
        pairs = zip(before.predicted_masks(kind), after.predicted_masks(kind), strict=True)
        shares = [coco.iou([one], [other], [0])[0, 0] for one, other in pairs]
        accuracy[kind] = Accuracy(before.mean_iou(kind), after.mean_iou(kind), float(np.mean(shares)))
    return accuracy
