"""The measurement: prompt every annotated object and compare the predicted mask with its ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from mobilesam.arrays import BoolArray, FloatArray, FloatArray64, IntArray, UInt8Array
from mobilesam.bench.timing import Stopwatch
from mobilesam.config import ALL_MASKS, MULTIMASK, SINGLE_MASK
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.evaluate.clicks import Click, center_click, next_click
from mobilesam.evaluate.coco import AnnotatedImage, Dataset, Instance, read_instances
from mobilesam.evaluate.journal import Journal, Record
from mobilesam.evaluate.metrics import boundary_iou, iou
from mobilesam.files import is_pipe
from mobilesam.image.read import read_image
from mobilesam.masks.rle import boundaries_of, to_coco

PromptKind = Literal["box", "point", "clicks"]
PROMPT_KINDS: tuple[PromptKind, ...] = get_args(PromptKind)


class Predictor(Protocol):
    """The methods that SamPredictor of this package and of the reference have in common."""

    def set_image(self, image: UInt8Array) -> None:
        """Encode an image, (H, W, 3) uint8 RGB."""

    def predict(
        self,
        point_coords: FloatArray64 | None = None,
        point_labels: IntArray | None = None,
        box: FloatArray64 | None = None,
        mask_input: FloatArray | None = None,
        multimask_output: bool = True,
    ) -> tuple[Any, Any, Any]:
        """Return masks (C, H, W) bool, predicted IoUs (C,) and low-resolution logits (C, 256, 256)."""


@dataclass(frozen=True)
class Settings:
    """The protocol of an evaluation.

    prompts: "box" takes the single-mask output. "point", at the maximum of the distance transform of the mask, takes
        the one of the three candidate masks with the highest predicted IoU. "clicks" starts with the same point; each
        further click is placed on the largest error, with the previous logits as mask input and single-mask output.
    max_clicks, stop_iou: clicks end when either is reached.
    all_masks: also compare the masks that are not taken; costs a second, untimed prediction.
    """

    prompts: tuple[PromptKind, ...] = ("box", "point")
    max_clicks: int = 10
    stop_iou: float = 0.90
    all_masks: bool = False

    def __post_init__(self) -> None:
        if not self.prompts or len(set(self.prompts)) < len(self.prompts):
            raise InputError(sentence("prompts", "name each kind once", list(self.prompts), "for example box,point"))
        if self.max_clicks < 1:
            raise InputError(sentence("max_clicks", "be at least 1", self.max_clicks, "10 is the default"))


def measure(
    predictor: Predictor,
    dataset: Dataset,
    settings: Settings,
    *,
    watch: Stopwatch | None = None,
    journal: Journal | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> list[Record]:
    """Return one record per image, in the order of the data set.

    watch: the stopwatch to which the predictor's model reports "encode" and "decode"; without one, the stages are
        "set_image" and "predict".
    journal: its images are not measured again; the others are added to it.
    progress: called with the number of finished images, the number of images, and the name of the next one ("" at the
        end).
    """
    run = _Run(predictor, settings, watch)
    records, total = [], len(dataset.images)
    for done, image in enumerate(dataset.images):
        if progress:
            progress(done, total, image.file_name)
        record = journal.records.get(image.file_name) if journal else None
        if record is None:
            record = run.measure(image, dataset.categories)
            if journal:
                journal.append(record)
        records.append(record)
    if progress:
        progress(total, total, "")
    return records


@dataclass(frozen=True, eq=False)
class _Prediction:
    """The mask, predicted IoU and logits of each mask index, and the index of the mask that is taken."""

    outputs: Mapping[int, tuple[BoolArray, float, FloatArray]]
    chosen: int

    @property
    def mask(self) -> BoolArray:
        return self.outputs[self.chosen][0]

    def compared(self, truth: BoolArray) -> Record:
        ious = {index: iou(mask, truth) for index, (mask, _, _) in self.outputs.items()}
        predicted = {index: float(score) for index, (_, score, _) in self.outputs.items()}
        return {
            "chosen": self.chosen,
            "iou": round(ious[self.chosen], 6),
            "boundary_iou": round(boundary_iou(self.mask, truth), 6),
            "ious": [round(ious[index], 6) if index in ious else None for index in ALL_MASKS],
            "predicted": [round(predicted[index], 6) if index in predicted else None for index in ALL_MASKS],
            "rle": _compressed(self.mask),
        }


class _Run:
    def __init__(self, predictor: Predictor, settings: Settings, watch: Stopwatch | None) -> None:
        self.predictor = predictor
        self.settings = settings
        self.watch = watch or Stopwatch()
        self.image_stage, self.prompt_stage = ("resize", "upsample") if watch else ("set_image", "predict")

    def measure(self, annotated: AnnotatedImage, categories: Mapping[Any, str]) -> Record:
        record: Record = {"file_name": annotated.file_name, "domain": annotated.domain, "error": None}
        self.watch.drain()
        try:
            if is_pipe(annotated.path):  # the data set names it, not the user
                raise InputError(sentence("image", "be a regular file", f"the pipe {annotated.path}", "check its path"))
            with self.watch.measure("read"):
                image = read_image(annotated.path)
            height, width = image.shape[:2]
            if annotated.stated_hw and annotated.stated_hw != (height, width):
                stated = f"{annotated.stated_hw[1]} x {annotated.stated_hw[0]}"
                raise InputError(f"the image is {width} x {height}, its annotations are for {stated}")
        except (InputError, OSError) as error:
            return record | {"error": str(error), "instances": [], "skipped": [], "seconds": {}}
        instances, skipped = read_instances(annotated, (height, width), categories)
        compared = []
        if instances:
            with self.watch.measure(self.image_stage):
                self.predictor.set_image(image)
            compared = [self.instance(instance) for instance in instances]
        seconds = {stage: [round(value, 6) for value in values] for stage, values in self.watch.drain().items()}
        return record | {"hw": [height, width], "instances": compared, "skipped": skipped, "seconds": seconds}

    def instance(self, instance: Instance) -> Record:
        kinds, truth = self.settings.prompts, instance.mask
        record: Record = {
            "annotation_id": instance.annotation_id,
            "category": instance.category,
            "area": instance.area,
        }
        if "box" in kinds:
            prediction = self.predict(SINGLE_MASK, box=instance.box_xyxy)
            record["box"] = {"box": instance.box_xyxy.tolist()} | prediction.compared(truth)
        if "point" in kinds or "clicks" in kinds:
            click = center_click(truth)
            prediction = self.predict(MULTIMASK, **_points([click]))
            if "point" in kinds:
                record["point"] = {"points": _plain([click])} | prediction.compared(truth)
            if "clicks" in kinds:
                record["clicks"] = self.clicks(click, prediction, truth)
        return record

    def clicks(self, first: Click, prediction: _Prediction, truth: BoolArray) -> Record:
        clicks, ious = [first], [iou(prediction.mask, truth)]
        while ious[-1] < self.settings.stop_iou and len(clicks) < self.settings.max_clicks:
            click = next_click(prediction.mask, truth, clicks)
            if click is None:
                break
            clicks.append(click)
            logits = prediction.outputs[prediction.chosen][2]
            prediction = self.predict(SINGLE_MASK, taken_only=True, mask_input=logits[None], **_points(clicks))
            ious.append(iou(prediction.mask, truth))
        return {
            "points": _plain(clicks),
            "ious": [round(value, 6) for value in ious],
            "rle": _compressed(prediction.mask),
        }

    def predict(self, indices: Sequence[int], *, taken_only: bool = False, **prompt: Any) -> _Prediction:
        with self.watch.measure(self.prompt_stage):
            outputs = self.outputs(indices, prompt)
        chosen = max(indices, key=lambda index: float(outputs[index][1]))
        if self.settings.all_masks and not taken_only:
            with self.watch.paused():
                outputs |= self.outputs(SINGLE_MASK if indices is MULTIMASK else MULTIMASK, prompt)
        return _Prediction(outputs, chosen)

    def outputs(
        self, indices: Sequence[int], prompt: Mapping[str, Any]
    ) -> dict[int, tuple[BoolArray, float, FloatArray]]:
        predicted = self.predictor.predict(multimask_output=indices is MULTIMASK, **prompt)
        return dict(zip(indices, zip(*predicted, strict=True), strict=True))


def _compressed(mask: BoolArray) -> str:
    counts: str = to_coco(boundaries_of(mask), (mask.shape[0], mask.shape[1]))["counts"]
    return counts


def _points(clicks: Sequence[Click]) -> dict[str, Any]:
    return {
        "point_coords": np.array([[click.x, click.y] for click in clicks], dtype=np.float64),
        "point_labels": np.array([int(click.foreground) for click in clicks], dtype=np.int64),
    }


def _plain(clicks: Sequence[Click]) -> list[list[int]]:
    return [[click.x, click.y, int(click.foreground)] for click in clicks]


def parse_prompts(text: str) -> tuple[PromptKind, ...]:
    """Return the kinds in a comma-separated list.

    Raises:
        InputError: a name is not one of :data:`PROMPT_KINDS`.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PROMPT_KINDS:
            raise InputError(unknown_name("--prompts", name, PROMPT_KINDS))
    return tuple(kind for name in names for kind in PROMPT_KINDS if kind == name)


def settings_record(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON values."""
    record: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return record
