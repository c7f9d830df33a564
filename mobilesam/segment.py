"""Prompts to mask records, for every command, the page and batches: decode, select a mask, measure it.

On a CPU the decoder runs one prompt at a time, so that the mask of a prompt does not depend on the other prompts. On an
accelerator, which decodes many prompts at once, the last bits may differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mobilesam.arrays import FloatArray
from mobilesam.config import ALL_MASKS, MASK_THRESHOLD, MULTIMASK, SINGLE_MASK, STABILITY_OFFSET
from mobilesam.errors import InputError, WeightsError, sentence
from mobilesam.masks import box_chooser, chooser
from mobilesam.masks.candidate import candidate_of
from mobilesam.masks.records import MaskRecord, make_record
from mobilesam.masks.selection import LEARNED, choose, rule_of
from mobilesam.masks.upsampling import Frame
from mobilesam.model import Decoded, Embedding, MaskModel
from mobilesam.prompts.arrays import Prompts, make_prompts
from mobilesam.prompts.object_prompt import MAX_STEPS, ObjectPrompt, refuse_without_object

ALL = "all"
_DECODED_AT_ONCE = 64  # prompts; the logits of one are up to 1 MB


@dataclass(frozen=True, eq=False)
class Candidates:
    """The C candidate masks of one prompt.

    low_res_logits: (C, 256, 256) float32. iou_predictions: (C,) float32.
    indices: the decoder's index of each mask: 0 for the single-mask output, 1 to 3 for the multimask outputs.
    best: the position in ``indices`` of the mask that is kept unless the prompt chooses another.
    confidences: (C,) float32, the IoU to expect of each mask, or None where it is not known.
    """

    low_res_logits: FloatArray
    iou_predictions: FloatArray
    indices: tuple[int, ...]
    best: int
    confidences: FloatArray | None = None

    def place_of(self, chosen: int | None) -> int:
        """Return the position of the mask of a decoder's index, or of the best one for None."""
        return self.best if chosen is None else self.indices.index(chosen)

    def only(self, chosen: int | None = None) -> Candidates:
        """Return the mask of a decoder's index, or the best one, alone."""
        place = self.place_of(chosen)
        kept = slice(place, place + 1)
        confidences = None if self.confidences is None else self.confidences[kept]
        return Candidates(self.low_res_logits[kept], self.iou_predictions[kept], self.indices[kept], 0, confidences)

    def three(self, chosen: int | None = None) -> Candidates:
        """Return three of four masks to choose from: the multimask outputs.

        The single-mask output, if it is the best or chosen one, replaces the multimask output most similar to it.
        """
        if len(self.indices) < len(ALL_MASKS):
            return self
        kept = list(MULTIMASK)
        needed = {self.best, self.place_of(chosen)}
        if 0 in needed:
            masks = self.low_res_logits > MASK_THRESHOLD
            free = [place for place in kept if place not in needed]
            similar = max(free, key=lambda place: float(np.mean(masks[0] == masks[place])))
            kept[kept.index(similar)] = 0
        indices = tuple(self.indices[place] for place in kept)
        best = kept.index(self.best)
        confidences = None if self.confidences is None else self.confidences[kept]
        return Candidates(self.low_res_logits[kept], self.iou_predictions[kept], indices, best, confidences)


def segment_objects(
    model: MaskModel, embedding: Embedding, prompts: Sequence[ObjectPrompt], *, select: str | None = None
) -> list[list[MaskRecord]]:
    """Segment objects in an image.

    Args:
        embedding: of the image, from ``model.encode``.
        prompts: one for each object.
        select: a rule of :data:`mobilesam.masks.selection.RULES` for which of the decoder's masks to keep; for the
            default see :func:`mobilesam.masks.selection.rule_of`. A prompt with ``chosen`` keeps the chosen mask. "all"
            keeps the three multimask outputs of every prompt.

    Returns:
        The records of each object, in the order of the prompts: one, or with "all" three by decreasing predicted IoU
        (one if the decoder predicts one). Segmentations are uncompressed RLEs of the size of the image.

    Raises:
        InputError: a prompt or the rule cannot be used.
    """
    frame = Frame(embedding.input_hw, embedding.original_hw, model.image_size)
    return [
        records_of(prompt, candidates, frame, model.mask_threshold, select)
        for prompt, candidates in zip(prompts, decode(model, embedding, prompts, select), strict=True)
    ]


def records_of(
    prompt: ObjectPrompt, candidates: Candidates, frame: Frame, threshold: float, select: str | None
) -> list[MaskRecord]:
    """Return the records of a prompt from its candidate masks; see :func:`segment_objects`."""
    scores = candidates.iou_predictions
    places = np.argsort(-scores).tolist() if select == ALL else [candidates.place_of(prompt.chosen)]
    return [record_of(prompt, candidates, place, frame, threshold) for place in places]


def decode(
    model: MaskModel, embedding: Embedding, prompts: Sequence[ObjectPrompt], select: str | None = None
) -> Iterator[Candidates]:
    """Return the candidate masks of each prompt: all four if one of them is selected, else one.

    Arguments and errors are those of :func:`segment_objects`.
    """
    for prompt in prompts:
        _check(model, prompt)
    return itertools.chain.from_iterable(
        _decode_alike(model, embedding, group, select) for group in _alike(model, prompts, select)
    )


def confidences_of(
    model: MaskModel, embedding: Embedding, prompts: Prompts, decoded: Decoded, rule: str
) -> list[FloatArray | None]:
    """Return the IoU to expect of each of the four masks of each prompt, (4,) float32.

    None for prompts other than a single foreground point or a box alone, without all four masks, and for weights that
    the chooser was not learned on.

    Raises:
        WeightsError: the rule is "learned", and the file of the chooser is damaged.
    """
    box = prompts.single_box
    learned, expect = (
        (model.choosers.box, box_chooser.confidences) if box else (model.choosers.point, chooser.confidences)
    )
    known = decoded.iou_predictions.shape[1] == len(ALL_MASKS) and (box or prompts.single_point)
    try:
        known = known and learned.knows(model.source_weights_id)
    except WeightsError:
        if rule == LEARNED:
            raise
        known = False
    if not known:
        return [None] * len(prompts)
    frame = (embedding.input_hw, model.image_size)
    return [
        expect(logits, ious, points[:2] if box else points[0], *frame, learned.arrays)
        for points, logits, ious in zip(prompts.point_coords, *decoded, strict=True)
    ]


def feedback(model: MaskModel, embedding: Embedding, steps: Sequence[ObjectPrompt]) -> FloatArray:
    """Decode the steps of an object, each with the mask chosen in the step before, and return the last chosen mask.

    Returns:
        (1, 256, 256) float32 logits, the ``mask_input`` of the next prompt.
    """
    logits: FloatArray | None = None
    for step in steps:
        (candidates,) = decode(model, embedding, [replace(step, mask_input=logits)])
        place = candidates.place_of(step.chosen)
        logits = candidates.low_res_logits[place : place + 1]
    assert logits is not None, "steps is not empty"
    return logits


def supports(model: MaskModel, prompt: ObjectPrompt) -> bool:
    """Return whether a model predicts the masks that a prompt chooses and takes the ``mask_input`` that it needs."""
    capabilities = model.capabilities
    enough = _highest_chosen(prompt) < capabilities.masks_per_prompt
    return enough and (capabilities.mask_input or not prompt.refines)


def record_of(prompt: ObjectPrompt, candidates: Candidates, place: int, frame: Frame, threshold: float) -> MaskRecord:
    """Return the record of the candidate mask of a prompt at a position, with an uncompressed RLE."""
    logits, iou = candidates.low_res_logits[place], np.float32(candidates.iou_predictions[place])
    candidate = candidate_of(logits, iou, frame, threshold=threshold, offset=STABILITY_OFFSET)
    record = make_record(candidate, frame.original_hw, "uncompressed_rle")
    if candidates.confidences is not None:
        record["confidence"] = float(candidates.confidences[place])
    record["point_coords"] = [list(point) for point in prompt.points]
    if prompt.box is not None:
        record["prompt_box"] = list(prompt.box)
    if prompt.label is not None:
        record["label"] = prompt.label
    if prompt.score is not None:
        record["score"] = prompt.score
    if prompt.detection_id is not None:
        record["detection_id"] = prompt.detection_id
    return record


def _check(model: MaskModel, prompt: ObjectPrompt) -> None:
    refuse_without_object((*prompt.steps, prompt)[0])
    if len(prompt.steps) >= MAX_STEPS:
        requirement = f"have at most {MAX_STEPS} steps"
        raise InputError(sentence("a prompt", requirement, len(prompt.steps) + 1, "remove the earliest"))
    if not all(step.chosen is not None for step in prompt.steps):
        remedy = "set it to the index of the mask that the next step refines"
        raise InputError(sentence("chosen", "be 0, 1, 2 or 3 in each step before the last", None, remedy))
    for step in (*prompt.steps, prompt):
        if step.chosen is not None and step.chosen not in ALL_MASKS:
            raise InputError(sentence("chosen", "be 0, 1, 2 or 3", step.chosen, "or None for the mask by select"))
    if not supports(model, prompt):
        capabilities = model.capabilities
        remedy = "use a decoder written by mobilesam export"
        if _highest_chosen(prompt) >= capabilities.masks_per_prompt:
            requirement = f"be below {capabilities.masks_per_prompt}, the number of the decoder's masks"
            raise InputError(sentence("chosen", requirement, _highest_chosen(prompt), remedy))
        raise InputError(
            "The prompt has steps, and this decoder takes no mask_input. Use a decoder written by mobilesam export."
        )


def _highest_chosen(prompt: ObjectPrompt) -> int:
    return max(step.chosen or 0 for step in (*prompt.steps, prompt))


def _decode_alike(
    model: MaskModel, embedding: Embedding, prompts: Sequence[ObjectPrompt], select: str | None
) -> Iterator[Candidates]:
    first = prompts[0]
    masks = [_mask_input(model, embedding, prompt) for prompt in prompts] if first.refines else None
    ready, _ = make_prompts(
        [prompt.points for prompt in prompts] if first.points else None,
        [prompt.labels for prompt in prompts] if first.points else None,
        None if first.box is None else [prompt.box for prompt in prompts],
        # For make_prompts a single box is a prompt, not a batch of one.
        masks[0] if masks and len(masks) == 1 and not first.points else masks,
        original_hw=embedding.original_hw,
        input_hw=embedding.input_hw,
    )
    rule = _rule(model, first, select)
    mask_indices = _mask_indices(first, rule)
    decoded = model.decode(embedding, ready, mask_indices)
    every = confidences_of(model, embedding, ready, decoded, rule)
    for logits, scores, confidences in zip(*decoded, every, strict=True):
        indices = mask_indices if len(scores) == len(mask_indices) else SINGLE_MASK
        best = int(np.argmax(scores)) if rule == ALL else choose(rule, logits, scores, confidences)
        yield Candidates(logits, scores, indices, best, confidences)


def _mask_input(model: MaskModel, embedding: Embedding, prompt: ObjectPrompt) -> FloatArray:
    return feedback(model, embedding, prompt.steps) if prompt.mask_input is None else prompt.mask_input


def _rule(model: MaskModel, prompt: ObjectPrompt, select: str | None) -> str:
    if select == ALL:
        return ALL
    default = prompt.chosen is not None
    kind = {"single_point": prompt.ambiguous, "single_box": prompt.boxed}
    chosen = None if default else select
    return rule_of(chosen, lambda: model.source_weights_id, **kind, choosers=model.choosers)


def _mask_indices(prompt: ObjectPrompt, rule: str) -> tuple[int, ...]:
    """Return which masks to decode.

    One mask for a prompt that is not ambiguous, even if the prompt chooses that mask, so that the result is the same.
    """
    if rule == ALL:
        return MULTIMASK
    return SINGLE_MASK if rule == "single" and not prompt.chosen else ALL_MASKS


def _alike(model: MaskModel, prompts: Sequence[ObjectPrompt], select: str | None) -> Iterator[Sequence[ObjectPrompt]]:
    """Yield consecutive prompts that fit into one call of the decoder."""

    def kind(prompt: ObjectPrompt) -> tuple[object, ...]:
        rule = _rule(model, prompt, select)
        return len(prompt.points), prompt.box is None, prompt.refines, rule, _mask_indices(prompt, rule)

    for _, group in itertools.groupby(prompts, kind):
        while part := list(itertools.islice(group, _DECODED_AT_ONCE)):
            yield part
