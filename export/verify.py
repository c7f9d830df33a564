"""How far ONNX files are from the network, or from other files, over images and prompts of every kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mobilesam.arrays import FloatArray, IntArray
from mobilesam.errors import InputError, sentence
from mobilesam.export.cases import SHAPES, cases, synthetic_image
from mobilesam.masks import upsampling as mask_tools
from mobilesam.model import Decoded, Embedding, MaskModel, Scored
from mobilesam.onnx import contract, exported, metadata, recognition
from mobilesam.onnx.encoder import ImageEncoder
from mobilesam.onnx.exported import SamDecoder
from mobilesam.onnx.sessions import open_session
from mobilesam.onnx.split_decoder import StepDecoder
from mobilesam.prompts.arrays import Prompts, make_prompts

# The largest differences that are no more than float32 in another order.
LIMITS = {
    "image_embeddings": 1e-3,
    "low_res_masks, same embedding": 2e-3,
    "iou_predictions, same embedding": 1e-4,
    "low_res_masks, end to end": 1e-2,
    "iou_predictions, end to end": 1e-3,
    "mask pixels, end to end": 1e-4,
    "masks in the graph": 2e-3,
}
_FEW_PIXELS = 2


class Row(NamedTuple):
    """The largest difference of one output over all cases, the case that had it, and how many cases there were."""

    output: str
    error: float
    limit: float
    case: str
    cases: int

    @property
    def passed(self) -> bool:
        return self.error <= self.limit


class _Errors:
    """The largest error of each output."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def add(self, output: str, error: float, case: str) -> None:
        worst = self.rows.get(output, Row(output, -1.0, LIMITS[output], case, 0))
        error, case = max((error, case), (worst.error, worst.case))
        self.rows[output] = Row(output, error, worst.limit, case, worst.cases + 1)


def verify(files: Sequence[Path], reference: MaskModel) -> list[Row]:
    """Compare ONNX files with a model.

    Args:
        files: an encoder, a decoder, or both; decoders of both kinds may be there, and each is compared.
        reference: the network on PyTorch, or other files on ONNX Runtime.

    Raises:
        InputError: a file is no part of a SAM model.
    """
    found = recognition.by_role(files)
    errors = _Errors()
    encoder = ImageEncoder(open_session(found["encoder"][0]), reference.image_size) if "encoder" in found else None
    decoders = list(_decoders(found))
    if not encoder and not decoders:
        remedy = "name an encoder, a decoder, or a folder with both"
        raise InputError(sentence("ONNX model", "hold a whole encoder or decoder", ", ".join(found), remedy))
    full_size = _FullSize(found["decoder"][0]) if "decoder" in found else None
    for shape in SHAPES:
        image = synthetic_image(shape)
        expected = reference.encode(image)
        expected_features = reference.dump_features(expected.features)
        same = Embedding(expected_features, expected.original_hw, expected.input_hw)
        own = None
        if encoder:
            encoded = encoder.encode(image, fast_padding=False)
            own = Embedding(encoded.features, expected.original_hw, encoded.input_hw)
            errors.add("image_embeddings", float(np.abs(encoded.features - expected_features).max()), shape)
        for name, prompts in _prompts(shape, reference, expected):
            answer = _all_masks(reference, expected, prompts)
            case = f"{shape}, {name}"
            for decoder in decoders:
                if prompts.mask_input is not None and not decoder.decoder.takes_masks:
                    continue
                _compare(errors, "same embedding", decoder, same, prompts, answer, reference, case)
                if own:
                    _compare(errors, "end to end", decoder, own, prompts, answer, reference, case)
            if full_size and full_size.usable:
                errors.add("masks in the graph", full_size.error(same, prompts, reference.image_size), case)
    return list(errors.rows.values())


def _prompts(shape: str, reference: MaskModel, embedding: Embedding) -> Iterator[tuple[str, Prompts]]:
    for case in cases(shape):
        sizes = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
        prompts, _ = make_prompts(**case.prompt, **sizes)
        if case.feedback:
            first = _all_masks(reference, embedding, prompts)
            best = first.low_res_logits[0, [first.iou_predictions[0].argmax()]]
            prompts, _ = make_prompts(**case.prompt, mask_input=best, **sizes)
        yield case.name, prompts


class _Decoder(NamedTuple):
    """A decoder of either kind; ``scores_are_iou`` is false for one that scores by stability."""

    decoder: StepDecoder | SamDecoder
    scores_are_iou: bool

    def all_masks(self, embedding: Embedding, prompts: Prompts) -> Decoded:
        scored = self.decoder.score(embedding, prompts)
        return Decoded(self.decoder.upscale(scored, _every(scored))[None], scored.iou_predictions)


def _decoders(found: recognition.Found) -> Iterator[_Decoder]:
    steps = ("image", "score", "upscale")
    if all(role in found for role in steps):
        yield _Decoder(StepDecoder(*(open_session(found[role][0]) for role in steps)), True)
    if "decoder" in found:
        session = open_session(exported.cut(found["decoder"][1]).SerializeToString())
        by_stability = metadata.of(found["decoder"][1]).get("scores") == "stability"
        yield _Decoder(SamDecoder(session), not by_stability)


def _all_masks(model: MaskModel, embedding: Embedding, prompts: Prompts) -> Decoded:
    scored = model.score_prompts(embedding, prompts)
    return Decoded(model.upscale(scored, _every(scored))[None], scored.iou_predictions)


def _every(scored: Scored) -> IntArray:
    return np.array([(0, mask) for mask in range(scored.iou_predictions.shape[1])])


def _compare(
    errors: _Errors,
    how: str,
    decoder: _Decoder,
    embedding: Embedding,
    prompts: Prompts,
    answer: Decoded,
    reference: MaskModel,
    case: str,
) -> None:
    actual = decoder.all_masks(embedding, prompts)
    if actual.low_res_logits.shape[1] == 1:
        answer = single(answer, prompts.point_coords.shape[1])
    errors.add(f"low_res_masks, {how}", float(np.abs(actual.low_res_logits - answer.low_res_logits).max()), case)
    if decoder.scores_are_iou:
        difference = np.abs(actual.iou_predictions - answer.iou_predictions)
        errors.add(f"iou_predictions, {how}", float(difference.max()), case)
    if how == "end to end":
        frame = (embedding.input_hw, embedding.original_hw, reference.image_size)
        masks, expected = (
            mask_tools.upsample(each.low_res_logits, *frame, threshold=reference.mask_threshold)
            for each in (actual, answer)
        )
        apart = int((masks != expected).sum(axis=(-1, -2)).max())
        share = apart / masks[0, 0].size if apart > _FEW_PIXELS else 0.0
        errors.add("mask pixels, end to end", share, case)


def single(answer: Decoded, num_points: int) -> Decoded:
    """Return the mask that SAM's exporter chooses in the graph, of four: by the number of points, padding counted."""
    preference = np.array([1000.0, 0, 0, 0])
    best = int((answer.iou_predictions[0] + (num_points - 2.5) * preference).argmax())
    chosen = slice(best, best + 1)
    return Decoded(answer.low_res_logits[:, chosen], answer.iou_predictions[:, chosen])


class _FullSize:
    """A decoder with its resizing to the original image, compared with our own resizing of its logits."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)
        inputs, outputs = (
            {value.name for value in values} for values in (self._session.get_inputs(), self._session.get_outputs())
        )
        self.usable = "masks" in outputs and inputs == set(contract.decoder().input_names)

    def error(self, embedding: Embedding, prompts: Prompts, image_size: int) -> float:
        masks, low_res = self._session.run(["masks", "low_res_masks"], self._feeds(embedding, prompts))
        expected = mask_tools.upsample(low_res, embedding.input_hw, embedding.original_hw, image_size)
        return float(np.abs(masks - expected).max()) if masks.shape == expected.shape else float("inf")

    def _feeds(self, embedding: Embedding, prompts: Prompts) -> dict[str, FloatArray]:
        has_mask = prompts.mask_input is not None
        return {
            "image_embeddings": embedding.features,
            "point_coords": prompts.point_coords,
            "point_labels": prompts.point_labels,
            "mask_input": prompts.mask_input if has_mask else np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.array([has_mask], np.float32),
            "orig_im_size": np.array(embedding.original_hw, np.float32),
        }
