"""Compare ONNX files with the network, or with other files, on images and prompts of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.errors import InputError, sentence
from mobilesam.evaluate.metrics import iou
from mobilesam.export.cases import COUNTS, SHAPES, cases, frame_image, synthetic_image
from mobilesam.learned import Learned
from mobilesam.masks import chooser
from mobilesam.masks.selection import LEARNED
from mobilesam.masks.upsampling import upsample
from mobilesam.model import Decoded, Embedding, MaskModel
from mobilesam.onnx import contract, fixed, metadata, recognition, sam_decoder
from mobilesam.onnx.encoder import ImageEncoder
from mobilesam.onnx.sam_decoder import SamDecoder
from mobilesam.onnx.sessions import open_session
from mobilesam.onnx.split_decoder import SplitDecoder
from mobilesam.prompts.arrays import Prompts, make_prompts

# The largest differences that another order of float32 operations causes.
LIMITS = {
    "image_embeddings": 1e-3,
    "low_res_masks, same embedding": 2e-3,
    "iou_predictions, same embedding": 1e-4,
    "low_res_masks, end to end": 1e-2,
    "iou_predictions, end to end": 1e-3,
    "mask pixels, end to end": 1e-4,
    "masks in the graph": 2e-3,
}
# The same of files for phones. Weights of less precision change masks by design, and IoUs of masks are compared alone.
PHONE_LIMITS: dict[str, dict[str, float]] = {
    "float32": {
        "image_embeddings": 1e-4,
        "low_res_masks, same embedding": 5e-3,
        "iou_predictions, same embedding": 1e-4,
        "low_res_masks, end to end": 1e-2,
        "iou_predictions, end to end": 1e-3,
        "mask IoU, the lowest": 1e-3,
        "mask IoU, the mean": 1e-4,
    },
    "float16": {"mask IoU, the mean": 0.02},
    "int8": {"mask IoU, the mean": 0.1},
}
_FEW_PIXELS = 2


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


class _Errors:
    """The largest error of each output."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self.rows: dict[str, Row] = {}
        self._limits = limits

    def add(self, output: str, error: float, case: str) -> None:
        worst = self.rows.get(output, Row(output, -1.0, self._limits.get(output), case, 0))
        error, case = max((error, case), (worst.error, worst.case))
        self.rows[output] = Row(output, error, worst.limit, case, worst.cases + 1)

    def average(self, output: str, error: float) -> None:
        """Add to a mean over all cases."""
        so_far = self.rows.get(output, Row(output, 0.0, self._limits.get(output), "all cases", 0))
        count = so_far.cases + 1
        self.rows[output] = so_far._replace(error=so_far.error + (error - so_far.error) / count, cases=count)


def verify(files: Sequence[Path], reference: MaskModel) -> list[Row]:
    """Compare ONNX files with a model.

    Args:
        files: an encoder, decoders, or both; each decoder is compared.
        reference: the network on PyTorch, or other files on ONNX Runtime.

    Raises:
        InputError: a file is not a part of a SAM model.
    """
    parts = recognition.by_role(files)
    encoder = ImageEncoder(open_session(parts["encoder"][0]), reference.image_size) if "encoder" in parts else None
    decoders = list(_decoders(parts))
    if not encoder and not decoders:
        remedy = "give an encoder, a decoder, or a folder with both"
        raise InputError(sentence("ONNX model", "have a complete encoder or decoder", ", ".join(parts), remedy))
    full_size = _FullSize(parts["decoder"][0]) if "decoder" in parts else None
    images = {shape: synthetic_image(shape) for shape in SHAPES}
    return _compare_all(_Errors(LIMITS), encoder, decoders, full_size, reference, images)


def verify_phone(
    open_role: Callable[[str, int | None], Any],
    reference: MaskModel,
    points: int,
    frame_hw: tuple[int, int],
    precision: str,
) -> list[Row]:
    """Compare an export for phones with a model, on five shapes of images, or on one that fills a smaller frame.

    Args:
        open_role: opens the graph of a role with a number of threads, and returns a session.
        reference: the network on PyTorch, or another export.
        points, frame_hw: of :func:`mobilesam.onnx.fixed.graphs`.
        precision: of the weights.
    """
    encoder, image, score, upscale, decoder = (open_role(graph.role, None) for graph in fixed.PARTS)
    decoders = [_Decoder(SplitDecoder(image, score, upscale)), _Decoder(SamDecoder(decoder))]
    is_square = frame_hw[0] == frame_hw[1]
    images = {shape: synthetic_image(shape) for shape in SHAPES} if is_square else {"frame": frame_image(frame_hw)}
    return _compare_all(
        _Errors(PHONE_LIMITS[precision]),
        ImageEncoder(encoder, contract.IMAGE_SIZE),
        decoders,
        None,
        reference,
        images,
        range(1, min(points, max(COUNTS)) + 1),
        fast_padding=not is_square,
        ious=True,
    )


def _compare_all(
    errors: _Errors,
    encoder: ImageEncoder | None,
    decoders: Sequence[_Decoder],
    full_size: _FullSize | None,
    reference: MaskModel,
    images: Mapping[str, UInt8Array],
    counts: Sequence[int] = COUNTS,
    *,
    fast_padding: bool = False,
    ious: bool = False,
) -> list[Row]:
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
            if full_size and full_size.usable:
                error = full_size.error(embeddings["same embedding"], prompts, reference.image_size)
                errors.add("masks in the graph", error, case)
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


class _Decoder(NamedTuple):
    """A decoder of either kind.

    scores_are_iou: false for one that scores by stability.
    masks: how it chooses its one mask: "single", the single-mask output; "learned", by the chooser for one click; or
        as SAM's exporter.
    """

    decoder: SplitDecoder | SamDecoder
    scores_are_iou: bool = True
    masks: str | None = None


def _decoders(parts: recognition.Parts) -> Iterator[_Decoder]:
    roles = [graph.role for graph in contract.SPLIT_DECODER]
    if parts.keys() >= set(roles):
        yield _Decoder(SplitDecoder(*(open_session(parts[role][0]) for role in roles)))
    if "decoder" in parts:
        model = parts["decoder"][1]
        session = open_session(sam_decoder.cut(model).SerializeToString())
        about = metadata.of(model)
        yield _Decoder(SamDecoder(session), about.get("scores") != "stability", about.get("masks"))


def _all_masks(decoder: MaskModel | SplitDecoder | SamDecoder, embedding: Embedding, prompts: Prompts) -> Decoded:
    score = decoder.score_prompts if isinstance(decoder, MaskModel) else decoder.score
    scored = score(embedding, prompts)
    every = np.array([(0, mask) for mask in range(scored.iou_predictions.shape[1])])
    return Decoded(decoder.upscale(scored, every)[None], scored.iou_predictions)


def _compare(
    errors: _Errors,
    stage: str,
    decoder: _Decoder,
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
            best = int(expected.iou_predictions[0].argmax())
            loss = 1 - iou(masks[0, best], wanted[0, best])
            errors.add("mask IoU, the lowest", loss, case)
            errors.average("mask IoU, the mean", loss)


def _choice(masks: str | None, decoded: Decoded, prompts: Prompts, input_hw: tuple[int, int], learned: Learned) -> int:
    """Return the number of the mask that a decoder of one mask chooses; see :class:`_Decoder`."""
    if masks == "single":
        return 0
    logits, ious = (part[0] for part in decoded)
    if masks == LEARNED and prompts.single_point:
        click = prompts.point_coords[0, 0]
        return int(chooser.confidences(logits, ious, click, input_hw, learned=learned.arrays).argmax())
    preference = np.array([1000.0, 0, 0, 0])  # of the single-mask output, by the number of points, padding counted
    return int((ious + (prompts.point_coords.shape[1] - 2.5) * preference).argmax())


class _FullSize:
    """A decoder that resizes masks to the original image, compared with the resizing of its logits in NumPy."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)
        inputs = {value.name for value in self._session.get_inputs()}
        types = {value.name: value.type for value in self._session.get_outputs()}
        # A decoder that crops its mask returns bytes.
        self.usable = types.get("masks") == "tensor(float)" and inputs == set(contract.decoder().input_names)

    def error(self, embedding: Embedding, prompts: Prompts, image_size: int) -> float:
        masks, low_res = self._session.run(["masks", "low_res_masks"], self._feeds(embedding, prompts))
        expected = upsample(low_res, embedding.input_hw, embedding.original_hw, image_size)
        return float(np.abs(masks - expected).max()) if masks.shape == expected.shape else float("inf")

    def _feeds(self, embedding: Embedding, prompts: Prompts) -> dict[str, FloatArray]:
        return {
            "image_embeddings": embedding.features,
            "point_coords": prompts.point_coords,
            "point_labels": prompts.point_labels,
            "mask_input": contract.NO_MASK if prompts.mask_input is None else prompts.mask_input,
            "has_mask_input": np.array([prompts.mask_input is not None], np.float32),
            "orig_im_size": np.array(embedding.original_hw, np.float32),
        }
