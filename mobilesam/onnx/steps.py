"""The mask decoder in three graphs, which serve many prompts of one picture."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from mobilesam import contract
from mobilesam.model import Scored

if TYPE_CHECKING:
    import onnxruntime

    from mobilesam.model import Embedding, FloatArray, IntArray
    from mobilesam.prompts import Prompts

# Prompts in one call. On a CPU the 4 MB of image tokens a prompt should stay in the cache; a GPU wants many.
_CPU_BATCH, _ACCELERATOR_BATCH = 2, 32


class StepDecoder:
    """Scores prompts and makes the masks that are wanted.

    The image-side work is kept as long as its embedding is.
    """

    masks_per_prompt = 4

    def __init__(
        self,
        image: onnxruntime.InferenceSession,
        score: onnxruntime.InferenceSession,
        upscale: onnxruntime.InferenceSession,
    ) -> None:
        self._image = image
        self._score = score
        self._upscale = upscale
        self._images: weakref.WeakKeyDictionary[Embedding, list[FloatArray]] = weakref.WeakKeyDictionary()
        self.prompt_batch = _CPU_BATCH if score.get_providers()[0].startswith("CPU") else _ACCELERATOR_BATCH

    def score(self, embedding: Embedding, prompts: Prompts) -> Scored:
        """See :meth:`mobilesam.model.MaskModel.score_prompts`."""
        if prompts.mask_input is not None:
            image = self._prepare(embedding, prompts.mask_input)
        elif (known := self._images.get(embedding)) is not None:
            image = known
        else:
            image = self._images[embedding] = self._prepare(embedding, None)
        given = [*image, prompts.point_coords, prompts.point_labels]
        iou_predictions, *tokens = _run(self._score, contract.SCORE, given)
        return Scored(iou_predictions, tokens)

    def upscale(self, scored: Scored, keep: IntArray) -> FloatArray:
        """See :meth:`mobilesam.model.MaskModel.upscale`."""
        prompts, position = np.unique(keep[:, 0], return_inverse=True)
        # Neighbours are fed where they lie; only a choice with gaps is copied, at 4 MB a prompt.
        joined = len(prompts) == prompts[-1] - prompts[0] + 1
        chosen = slice(prompts[0], prompts[-1] + 1) if joined else prompts
        (logits,) = _run(self._upscale, contract.UPSCALE, [tokens[chosen] for tokens in scored.state])
        wanted: FloatArray = logits[position, keep[:, 1]]
        return wanted

    def _prepare(self, embedding: Embedding, masks: FloatArray | None) -> list[FloatArray]:
        side = contract.IMAGE.inputs[1].shape[-1]
        assert isinstance(side, int)
        given = np.zeros((1, 1, side, side), np.float32) if masks is None else masks
        flag = np.array([masks is not None], np.float32)
        return _run(self._image, contract.IMAGE, [embedding.features, given, flag])


def _run(session: onnxruntime.InferenceSession, graph: contract.Graph, inputs: list[FloatArray]) -> list[FloatArray]:
    outputs: list[FloatArray] = session.run(graph.output_names, dict(zip(graph.input_names, inputs, strict=True)))
    return outputs
