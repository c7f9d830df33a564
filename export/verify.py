"""Compare ONNX files with the network, or with other files, on images and prompts of every kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mobilesam.arrays import FloatArray
from mobilesam.errors import InputError, sentence
from mobilesam.export.cases import SHAPES, synthetic_image
from mobilesam.export.compare import Decoder, Errors, Row, compare_all
from mobilesam.masks.upsampling import upsample
from mobilesam.model import Decoded, Embedding, MaskModel
from mobilesam.onnx import contract, metadata, recognition, sam_decoder
from mobilesam.onnx.encoder import ImageEncoder
from mobilesam.onnx.sam_decoder import SamDecoder
from mobilesam.onnx.sessions import open_session
from mobilesam.onnx.split_decoder import SplitDecoder
from mobilesam.prompts.arrays import Prompts

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

    def masks_in_graph(embedding: Embedding, prompts: Prompts, _: Decoded) -> Iterator[tuple[str, float]]:
        if full_size and full_size.usable:
            yield "masks in the graph", full_size.error(embedding, prompts, reference.image_size)

    return compare_all(Errors(LIMITS), encoder, decoders, reference, images, more=masks_in_graph)


def _decoders(parts: recognition.Parts) -> Iterator[Decoder]:
    roles = [graph.role for graph in contract.SPLIT_DECODER]
    if parts.keys() >= set(roles):
        yield Decoder(SplitDecoder(*(open_session(parts[role][0]) for role in roles)))
    if "decoder" in parts:
        model = parts["decoder"][1]
        session = open_session(sam_decoder.cut(model).SerializeToString())
        about = metadata.of(model)
        yield Decoder(SamDecoder(session), about.get("scores") != "stability", about.get("masks"))


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
