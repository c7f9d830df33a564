"""The SAM decoder: one graph, one prompt per call, as in the files of many exporters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mobilesam.arrays import FloatArray, IntArray
from mobilesam.config import ALL_MASKS, SINGLE_MASK
from mobilesam.errors import InputError, sentence
from mobilesam.masks.selection import LEARNED
from mobilesam.model import Scored
from mobilesam.onnx import contract, metadata
from mobilesam.onnx.sessions import ort_errors

if TYPE_CHECKING:
    import onnx
    import onnxruntime

    from mobilesam.model import Embedding
    from mobilesam.prompts.arrays import Prompts

LOW_RES = contract.decoder(low_res_only=True)


def cut(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the part of a decoder up to the low-resolution masks; resizing them outside of the graph is faster."""
    import onnx

    # A decoder that chooses among the masks itself has to know which part of them the image covers.
    needed = contract.decoder() if metadata.of(model).get("masks") == LEARNED else LOW_RES
    given = {value.name for value in model.graph.input}
    inputs = [name for name in needed.input_names if name in given]
    return onnx.utils.Extractor(model).extract_model(inputs, LOW_RES.output_names)


class SamDecoder:
    """Runs prompts one by one; the scores and the masks of a prompt are computed together.

    Raises:
        InputError: the graph returns neither one nor four masks per prompt, or its shapes or types are not SAM's.
    """

    prompt_batch = 1

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._inputs = {value.name for value in session.get_inputs()}
        self.takes_masks = "mask_input" in self._inputs
        self.masks_per_prompt = self._count_masks()

    def score(self, embedding: Embedding, prompts: Prompts) -> Scored:
        """See :meth:`mobilesam.model.MaskModel.score_prompts`."""
        if prompts.mask_input is not None and not self.takes_masks:
            remedy = "leave it out, or write a decoder that takes masks with mobilesam export"
            raise InputError(sentence("mask_input", "be None for this decoder", "a mask", remedy))
        masks = [None] * len(prompts) if prompts.mask_input is None else prompts.mask_input
        each = zip(prompts.point_coords, prompts.point_labels, masks, strict=True)
        results = [self._run(embedding.features, *prompt, embedding.original_hw) for prompt in each]
        iou_predictions, low_res = (np.concatenate(part) for part in zip(*results, strict=True))
        return Scored(iou_predictions, low_res)

    def upscale(self, scored: Scored, keep: IntArray, input_hw: tuple[int, int] | None = None) -> FloatArray:
        """See :meth:`mobilesam.model.MaskModel.upscale`."""
        wanted: FloatArray = scored.state[keep[:, 0], keep[:, 1]]
        return wanted

    def _run(
        self,
        features: FloatArray,
        coords: FloatArray,
        labels: FloatArray,
        mask: FloatArray | None,
        original_hw: tuple[int, int],
    ) -> tuple[FloatArray, FloatArray]:
        values = {
            "image_embeddings": features,
            "point_coords": coords[None],
            "point_labels": labels[None],
            "mask_input": contract.NO_MASK if mask is None else mask[None],
            "has_mask_input": np.array([mask is not None], np.float32),
            "orig_im_size": np.array(original_hw, np.float32),
        }
        inputs = {name: value for name, value in values.items() if name in self._inputs}
        iou_predictions, low_res = self._session.run(LOW_RES.output_names, inputs)
        return iou_predictions, low_res

    def _count_masks(self) -> int:
        """Return the number of masks per prompt from a trial run, because files often leave shapes open."""
        features = np.zeros([int(dim) for dim in LOW_RES.inputs[0].shape], np.float32)
        point = np.zeros((2, 2), np.float32), np.array([1, -1], np.float32)
        with ort_errors("run the decoder with the inputs of SAM"):
            count: int = self._run(features, *point, None, (1, 1))[1].shape[1]
        if count not in (len(SINGLE_MASK), len(ALL_MASKS)):
            remedy = "export it again with or without --return-single-mask"
            raise InputError(sentence("decoder", "return 1 or 4 masks per prompt", count, remedy))
        return count
