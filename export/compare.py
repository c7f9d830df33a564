"""Comparison of an encoder and decoders of any runtime with a model, on images and prompts of every kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mobilesam.arrays import UInt8Array
from mobilesam.evaluate.metrics import iou
from mobilesam.export.cases import COUNTS, cases
from mobilesam.learned import Learned
from mobilesam.masks import chooser
from mobilesam.masks.selection import LEARNED
from mobilesam.masks.upsampling import upsample
from mobilesam.model import Decoded, Embedding, MaskModel
from mobilesam.onnx.encoder import ImageEncoder
from mobilesam.onnx.sam_decoder import SamDecoder
from mobilesam.onnx.split_decoder import SplitDecoder
from mobilesam.prompts.arrays import Prompts, make_prompts

_FEW_PIXELS = 2

More = Callable[[Embedding, Prompts, Decoded], Iterable[tuple[str, float]]]


class Row(NamedTuple):
    """The largest difference of one output, the case that it occurs in, and the number of cases.

    error: for an IoU, how much it is below 1. limit: None for what is only reported.
    """

    output: str
    error: float
    limit: float | None
    case: str
    cases: int

    @property
    def passed(self) -> bool:
        return self.limit is None or self.error <= self.limit


class Errors:
    """The largest error of each output."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self.rows: dict[str, Row] = {}
        self._limits = limits

    def add(self, output: str, error: float, case: str) -> None:
        """Keep the largest error. One that is not a number is larger than all others, and fails any limit."""
        error = math.inf if math.isnan(error) else error
        worst = self.rows.get(output, Row(output, -1.0, self._limits.get(output), case, 0))
        error, case = max((error, case), (worst.error, worst.case))
        self.rows[output] = Row(output, error, worst.limit, case, worst.cases + 1)

    def average(self, output: str, error: float) -> None:
        """Add to a mean over all cases."""
        so_far = self.rows.get(output, Row(output, 0.0, self._limits.get(output), "all cases", 0))
        count = so_far.cases + 1
        self.rows[output] = so_far._replace(error=so_far.error + (error - so_far.error) / count, cases=count)


class Decoder(NamedTuple):
    """A decoder of either kind.

    scores_are_iou: false for one that scores by stability.
    masks: how it chooses its one mask: "single", the single-mask output; "learned", by the chooser for one click; or
        as SAM's exporter.
    """

    decoder: SplitDecoder | SamDecoder
    scores_are_iou: bool = True
    masks: str | None = None


def compare_all(
    errors: Errors,
    encoder: ImageEncoder | None,
    decoders: Sequence[Decoder],
    reference: MaskModel,
    images: Mapping[str, UInt8Array],
    counts: Sequence[int] = COUNTS,
    *,
    more: More = lambda *_: (),
    fast_padding: bool = False,
    ious: bool = False,
) -> list[Row]:
    """Compare an encoder and decoders with a model.

    Args:
        errors: takes the results.
        images: by names, which are in the results.
        counts: of the points of prompts.
        more: returns more errors by names, for an embedding of the reference, a prompt, and its masks.
        fast_padding: of the embeddings of the reference.
        ious: whether masks are compared by their IoU too.
    """
    for shape, image in images.items():
        expected = reference.encode(image, fast_padding=fast_padding)
        expected_features = reference.dump_features(expected.features)
        embeddings = {"same embedding": Embedding(expected_features, expected.original_hw, expected.input_hw)}
        if encoder:
            (encoded,) = encoder.encode([image], fast_padding=False)
            embeddings["end to end"] = Embedding(encoded.features, expected.original_hw, encoded.input_hw)
            errors.add("image_embeddings", float(np.abs(encoded.features - expected_features).max()), shape)
        for name, prompts in _prompts(shape, reference, expected, counts):
            decoded = _all_masks(reference, expected, prompts)
            case = f"{shape}, {name}"
            for decoder in decoders:
                if prompts.mask_input is None or decoder.decoder.takes_masks:
                    for stage, embedding in embeddings.items():
                        _compare(errors, stage, decoder, embedding, prompts, decoded, reference, case, ious=ious)
            for output, error in more(embeddings["same embedding"], prompts, decoded):
                errors.add(output, error, case)
    return list(errors.rows.values())


def _prompts(
    shape: str, reference: MaskModel, embedding: Embedding, counts: Sequence[int]
) -> Iterator[tuple[str, Prompts]]:
    sizes = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    for case in cases(shape, counts, embedding.original_hw):
        prompts, _ = make_prompts(**case.prompt, **sizes)
        if case.feedback:
            first = _all_masks(reference, embedding, prompts)
            best = first.low_res_logits[0, [first.iou_predictions[0].argmax()]]
            prompts, _ = make_prompts(**case.prompt, mask_input=best, **sizes)
        yield case.name, prompts


def _all_masks(decoder: MaskModel | SplitDecoder | SamDecoder, embedding: Embedding, prompts: Prompts) -> Decoded:
    score = decoder.score_prompts if isinstance(decoder, MaskModel) else decoder.score
    scored = score(embedding, prompts)
    every = np.array([(0, mask) for mask in range(scored.iou_predictions.shape[1])])
    return Decoded(decoder.upscale(scored, every)[None], scored.iou_predictions)


def _compare(
    errors: Errors,
    stage: str,
    decoder: Decoder,
    embedding: Embedding,
    prompts: Prompts,
    expected: Decoded,
    reference: MaskModel,
    case: str,
    *,
    ious: bool,
) -> None:
    actual = _all_masks(decoder.decoder, embedding, prompts)
    if actual.low_res_logits.shape[1] == 1:
        mask = _choice(decoder.masks, expected, prompts, embedding.input_hw, reference.choosers.point)
        expected = Decoded(expected.low_res_logits[:, [mask]], expected.iou_predictions[:, [mask]])
    errors.add(f"low_res_masks, {stage}", float(np.abs(actual.low_res_logits - expected.low_res_logits).max()), case)
    if decoder.scores_are_iou:
        difference = np.abs(actual.iou_predictions - expected.iou_predictions)
        errors.add(f"iou_predictions, {stage}", float(difference.max()), case)
    if stage == "end to end":
        frame = (embedding.input_hw, embedding.original_hw, reference.image_size)
        masks, wanted = (
            upsample(each.low_res_logits, *frame, threshold=reference.mask_threshold) for each in (actual, expected)
        )
        different = int((masks != wanted).sum(axis=(-1, -2)).max())
        share = different / masks[0, 0].size if different > _FEW_PIXELS else 0.0
        errors.add("mask pixels, end to end", share, case)
        if ious:
            for mask in sorted({0, int(expected.iou_predictions[0].argmax())}):  # those that are taken
                loss = 1 - iou(masks[0, mask], wanted[0, mask])
                errors.add("mask IoU, the lowest", loss, case)
                errors.average("mask IoU, the mean", loss)


def _choice(masks: str | None, decoded: Decoded, prompts: Prompts, input_hw: tuple[int, int], learned: Learned) -> int:
    """Return the number of the mask that a decoder of one mask chooses; see :class:`Decoder`."""
    if masks == "single":
        return 0
    logits, ious = (part[0] for part in decoded)
    if masks == LEARNED and prompts.single_point:
        click = prompts.point_coords[0, 0]
        return int(chooser.confidences(logits, ious, click, input_hw, learned=learned.arrays).argmax())
    preference = np.array([1000.0, 0, 0, 0])  # of the single-mask output, by the number of points, padding counted
    return int((ious + (prompts.point_coords.shape[1] - 2.5) * preference).argmax())
