"""The split decoder: three graphs for many prompts of one image."""

from __future__ import annotations

import copy
import threading
import weakref
from typing import TYPE_CHECKING

import numpy as np

from mobilesam.arrays import FloatArray, IntArray
from mobilesam.config import ALL_MASKS, VARIANTS
from mobilesam.geometry import covered_tokens
from mobilesam.model import Scored, complete
from mobilesam.onnx import contract

if TYPE_CHECKING:
    import onnxruntime

    from mobilesam.model import Embedding
    from mobilesam.prompts.arrays import Prompts

_CONFIG = VARIANTS["vit_t"]
# Prompts in one call. On a CPU the image tokens of a prompt, 4 MB, should stay in the cache; a GPU needs many prompts.
_CPU_BATCH, _ACCELERATOR_BATCH = 2, 32
# Rows of the token grid upscaled in one call on a CPU: their intermediate values, 3 MB, stay in the cache of a core.
_CPU_ROWS = 16


class SplitDecoder:
    """Scores prompts, and upscales only the masks that are kept.

    The image tokens of an embedding are kept as long as the embedding.
    """

    masks_per_prompt = len(ALL_MASKS)
    takes_masks = True

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
        self._preparing = threading.Lock()
        on_cpu = score.get_providers()[0].startswith("CPU")
        self.prompt_batch = _CPU_BATCH if on_cpu else _ACCELERATOR_BATCH
        self._rows_at_once = _CPU_ROWS if on_cpu else _CONFIG.grid_size

    def worker(self, score: onnxruntime.InferenceSession, upscale: onnxruntime.InferenceSession) -> SplitDecoder:
        """Return a decoder with other sessions for prompts, which shares the image tokens with this one."""
        other = copy.copy(self)
        other._score, other._upscale = score, upscale
        return other

    def score(self, embedding: Embedding, prompts: Prompts) -> Scored:
        """See :meth:`mobilesam.model.MaskModel.score_prompts`."""
        masks = prompts.mask_input
        image = self._image_tokens(embedding) if masks is None else self._prepare(embedding, masks)
        inputs = [*image, prompts.point_coords, prompts.point_labels]
        iou_predictions, *tokens = _run(self._score, contract.SCORE, inputs)
        return Scored(iou_predictions, tokens)

    def upscale(self, scored: Scored, keep: IntArray, input_hw: tuple[int, int] | None = None) -> FloatArray:
        """See :meth:`mobilesam.model.MaskModel.upscale`."""
        prompts, position = np.unique(keep[:, 0], return_inverse=True)
        # A slice of adjacent prompts is not copied; a selection with gaps is, at 4 MB per prompt.
        adjacent = len(prompts) == prompts[-1] - prompts[0] + 1
        chosen = slice(prompts[0], prompts[-1] + 1) if adjacent else prompts
        kernels, image_tokens = (part[chosen] for part in scored.state)
        side = _CONFIG.grid_size
        rows, columns = covered_tokens(input_hw, _CONFIG.image_size, side) if input_hw else (side, side)
        grid = image_tokens.reshape(len(image_tokens), side, side, -1)[:, :rows, :columns]
        blocks = np.array_split(grid, -(-rows // self._rows_at_once), axis=1)
        parts = [_run(self._upscale, contract.UPSCALE, [kernels, block])[0] for block in blocks]
        logits = np.concatenate([part[position, keep[:, 1]] for part in parts], axis=1)
        return complete(logits, _CONFIG.logits_size)

    def _image_tokens(self, embedding: Embedding) -> list[FloatArray]:
        with self._preparing:  # threads that decode prompts of one image wait for the first
            if embedding not in self._images:
                self._images[embedding] = self._prepare(embedding, None)
            return self._images[embedding]

    def _prepare(self, embedding: Embedding, masks: FloatArray | None) -> list[FloatArray]:
        has_mask_input = np.array([masks is not None], np.float32)
        inputs = [embedding.features, contract.NO_MASK if masks is None else masks, has_mask_input]
        return _run(self._image, contract.IMAGE, inputs)


def _run(session: onnxruntime.InferenceSession, graph: contract.Graph, inputs: list[FloatArray]) -> list[FloatArray]:
    outputs: list[FloatArray] = session.run(graph.output_names, dict(zip(graph.input_names, inputs, strict=True)))
    return outputs
