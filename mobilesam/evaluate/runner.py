"""The measurement: every instance of every image prompted, answered and compared with its mask."""

from __future__ import annotations

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
from mobilesam.evaluate.rle import encode_mask
from mobilesam.files import is_pipe
from mobilesam.image.read import read_image

PromptKind = Literal["box", "point", "clicks"]
PROMPT_KINDS: tuple[PromptKind, ...] = get_args(PromptKind)


class Predictor(Protocol):
    """What SamPredictor of this package and of the reference have in common."""

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
    """The protocol.

    prompts: "box" is answered with the single mask; "point", at the maximum of the distance transform, with the one of
        three masks that the model ranks first; "clicks" goes on from there with the single mask and the logits before.
    max_clicks, stop_iou: clicks end when either is reached.
    all_masks: also score the masks that are not part of the answer; takes a second, untimed prediction.
    """

    prompts: tuple[PromptKind, ...] = ("box", "point")
    max_clicks: int = 10
    stop_iou: float = 0.90
    all_masks: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that measure nothing."""
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
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Record]:
    """Return one record an image, in the data set's order.

    watch: a stopwatch that the predictor's network already reports "encode" and "decode" to; without one, the stages
        are "set_image" and "predict".
    journal: images found there are not measured again; others are added to it.
    progress: called with the number of images done, the number there are, and the name of the next ("" at the end).
    """
    run = _Run(predictor, settings, watch)
    records = []
    for done, image in enumerate(dataset.images):
        if progress:
            progress(done, len(dataset.images), image.file_name)
        record = journal.records.get(image.file_name) if journal else None
        if record is None:
            record = run.measure(image, dataset.categories)
            if journal:
                journal.append(record)
        records.append(record)
    if progress:
        progress(len(dataset.images), len(dataset.images), "")
    return records


@dataclass(frozen=True, eq=False)
class _Answer:
    """Masks of one prediction by token, 0 the single mask, and the one taken."""

    masks: Mapping[int, BoolArray]
    predicted: Mapping[int, float]
    logits: Mapping[int, FloatArray]
    chosen: int


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
            if is_pipe(annotated.path):  # the dataset names it, not the user
                raise InputError(sentence("image", "be a regular file", f"the pipe {annotated.path}", "check its path"))
            with self.watch.measure("read"):
                image = read_image(annotated.path)
            height, width = image.shape[:2]
            if annotated.stated_hw not in (None, (height, width)):
                stated = f"{annotated.stated_hw[1]} x {annotated.stated_hw[0]}" if annotated.stated_hw else ""
                raise InputError(f"the image is {width} x {height}, its annotations are for {stated}")
        except (InputError, OSError) as error:
            return record | {"error": str(error), "instances": [], "skipped": [], "seconds": {}}
        instances, skipped = read_instances(annotated, (height, width), categories)
        scored = []
        if instances:
            with self.watch.measure(self.image_stage):
                self.predictor.set_image(image)
            scored = [self.instance(instance) for instance in instances]
        seconds = {stage: [round(value, 6) for value in values] for stage, values in self.watch.drain().items()}
        return record | {"hw": [height, width], "instances": scored, "skipped": skipped, "seconds": seconds}

    def instance(self, instance: Instance) -> Record:
        kinds = self.settings.prompts
        about: Record = {
            "annotation_id": instance.annotation_id,
            "category": instance.category,
            "area": instance.area,
        }
        if "box" in kinds:
            answer = self.predict(SINGLE_MASK, box=instance.box_xyxy)
            about["box"] = {"box": instance.box_xyxy.tolist()} | _score(answer, instance.mask)
        if "point" in kinds or "clicks" in kinds:
            click = center_click(instance.mask)
            answer = self.predict(MULTIMASK, **_points([click]))
            if "point" in kinds:
                about["point"] = {"points": _plain([click])} | _score(answer, instance.mask)
            if "clicks" in kinds:
                about["clicks"] = self.clicks(click, answer, instance.mask)
        return about

    def clicks(self, first: Click, answer: _Answer, truth: BoolArray) -> Record:
        clicks = [first]
        ious = [iou(answer.masks[answer.chosen], truth)]
        while ious[-1] < self.settings.stop_iou and len(clicks) < self.settings.max_clicks:
            click = next_click(answer.masks[answer.chosen], truth, clicks)
            if click is None:
                break
            clicks.append(click)
            answer = self.predict(
                SINGLE_MASK, scored_only=True, mask_input=answer.logits[answer.chosen][None], **_points(clicks)
            )
            ious.append(iou(answer.masks[answer.chosen], truth))
        return {
            "points": _plain(clicks),
            "ious": [round(value, 6) for value in ious],
            "rle": encode_mask(answer.masks[answer.chosen]),
        }

    def predict(self, tokens: Sequence[int], *, scored_only: bool = False, **prompt: Any) -> _Answer:
        with self.watch.measure(self.prompt_stage):
            found = self.predictor.predict(multimask_output=tokens is MULTIMASK, **prompt)
        answer = dict(zip(tokens, zip(*found, strict=True), strict=True))
        chosen = max(tokens, key=lambda token: float(answer[token][1]))
        if self.settings.all_masks and not scored_only:
            others = SINGLE_MASK if tokens is MULTIMASK else MULTIMASK
            with self.watch.paused():
                found = self.predictor.predict(multimask_output=others is MULTIMASK, **prompt)
            answer |= dict(zip(others, zip(*found, strict=True), strict=True))
        return _Answer(
            {token: mask for token, (mask, _, _) in answer.items()},
            {token: float(score) for token, (_, score, _) in answer.items()},
            {token: logits for token, (_, _, logits) in answer.items()},
            chosen,
        )


def _score(answer: _Answer, truth: BoolArray) -> Record:
    mask = answer.masks[answer.chosen]
    ious = {token: iou(other, truth) for token, other in answer.masks.items()}
    return {
        "chosen": answer.chosen,
        "iou": round(ious[answer.chosen], 6),
        "boundary_iou": round(boundary_iou(mask, truth), 6),
        "ious": _by_token(ious),
        "predicted": _by_token(answer.predicted),
        "rle": encode_mask(mask),
    }


def _by_token(values: Mapping[int, float]) -> list[float | None]:
    """Return one place for each of the four masks, None where it was not asked for."""
    return [round(values[token], 6) if token in values else None for token in ALL_MASKS]


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
        InputError: a name is not one of ``PROMPT_KINDS``.
    """
    known = {str(kind): kind for kind in PROMPT_KINDS}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise InputError(unknown_name("--prompts", name, PROMPT_KINDS))
    return tuple(known[name] for name in names)


def settings_record(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON values."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}
