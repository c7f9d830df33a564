"""Compare graphs of fixed shapes with the network, on the runtime that they are for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mobilesam.export.cases import COUNTS, SHAPES, frame_image, synthetic_image
from mobilesam.export.compare import Decoder, Errors, Row, compare_all
from mobilesam.masks import chooser
from mobilesam.model import Decoded, Embedding, MaskModel
from mobilesam.onnx import contract, fixed
from mobilesam.onnx.encoder import ImageEncoder
from mobilesam.onnx.fixed_folder import FixedFolder, OpenRun
from mobilesam.onnx.sam_decoder import SamDecoder
from mobilesam.onnx.split_decoder import SplitDecoder
from mobilesam.prompts.arrays import Prompts

_CHOOSER = {"confidence of one click": 1e-3}
# The largest differences that are allowed, by precision. Weights of less precision change masks by design, so their
# logits have no limit.
LIMITS: dict[str, dict[str, float]] = {
    "float32": {
        "image_embeddings": 1e-4,
        "low_res_masks, same embedding": 5e-3,
        "iou_predictions, same embedding": 1e-4,
        "low_res_masks, end to end": 1e-2,
        "iou_predictions, end to end": 1e-3,
        "mask IoU, the lowest": 1e-3,
        "mask IoU, the mean": 1e-4,
        **_CHOOSER,
    },
    "float16": {"iou_predictions, end to end": 0.02, "mask IoU, the mean": 0.005, **_CHOOSER},
    "int8": {"iou_predictions, end to end": 0.15, "mask IoU, the mean": 0.07, **_CHOOSER},
}


def verify_fixed(folder: FixedFolder, open_run: OpenRun, reference: MaskModel) -> list[Row]:
    """Compare graphs of fixed shapes with a model, on five shapes of images, or on one that fills a smaller frame.

    Args:
        folder: the folder of an export.
        open_run: that of its runtime.
        reference: the network on PyTorch, or another export.
    """
    open_role, frame_hw = folder.opener(open_run), folder.frame_hw
    sessions = {role: open_role(role, None) for role in folder.files}
    decoders = [Decoder(SamDecoder(sessions["decoder"]))]
    if all(graph.role in sessions for graph in contract.SPLIT_DECODER):
        decoders.append(Decoder(SplitDecoder(*(sessions[graph.role] for graph in contract.SPLIT_DECODER))))
    is_square = frame_hw[0] == frame_hw[1]
    images = {shape: synthetic_image(shape) for shape in SHAPES} if is_square else {"frame": frame_image(frame_hw)}

    def chooser_error(embedding: Embedding, prompts: Prompts, decoded: Decoded) -> Iterator[tuple[str, float]]:
        if fixed.CHOOSER.role in sessions and prompts.single_point:
            session = sessions[fixed.CHOOSER.role]
            yield "confidence of one click", _chooser_error(session, embedding, prompts, decoded, reference)

    return compare_all(
        Errors(LIMITS[folder.metadata["precision"]]),
        ImageEncoder(sessions[contract.ENCODER.role], contract.IMAGE_SIZE),
        decoders,
        reference,
        images,
        [*range(1, min(folder.points, max(COUNTS))), folder.points],
        fast_padding=not is_square,
        ious=True,
        more=chooser_error,
    )


def _chooser_error(
    session: fixed.FixedSession, embedding: Embedding, prompts: Prompts, decoded: Decoded, reference: MaskModel
) -> float:
    feeds = {
        "low_res_masks": decoded.low_res_logits,
        "iou_predictions": decoded.iou_predictions,
        "point_coords": prompts.point_coords,
        "orig_im_size": np.array(embedding.original_hw, np.float32),
    }
    (actual,) = session.run(fixed.CHOOSER.output_names, feeds)
    logits, ious = (part[0] for part in decoded)
    click, learned = prompts.point_coords[0, 0], reference.choosers.point.arrays
    expected = chooser.confidences(logits, ious, click, embedding.input_hw, learned=learned)
    return float(np.abs(actual[0] - expected).max())
