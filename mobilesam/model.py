"""The interface of models, which all commands, the page and the Python classes use.

A model encodes an image once, and decodes prompts to low-resolution mask logits many times. It is implemented by
:class:`mobilesam.modeling.torch_sam.TorchSam` with PyTorch and :class:`mobilesam.onnx.OnnxSam` with ONNX Runtime.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mobilesam.arrays import AnyFloatArray, Array, FloatArray, IntArray, UInt8Array
from mobilesam.config import ALL_MASKS, MASK_THRESHOLD
from mobilesam.image.read import image_digest
from mobilesam.masks.boxes import nms
from mobilesam.masks.choosers import PUBLISHED, Choosers
from mobilesam.prompts.arrays import Prompts

Part = TypeVar("Part")
Result = TypeVar("Result")

NOT_MADE = np.float32(-1e9)  # logits that were not computed: below every threshold, and finite


@dataclass(frozen=True)
class Capabilities:
    """What a model supports.

    masks_per_prompt: number of masks of a prompt: 4, or 1 if there is only the single-mask output.
    prompt_batch: number of prompts for which one decoder call is fastest on this device; 1 if it takes only one.
    encode_batch: number of images for which one encoder call is fastest on this device.
    workers: number of threads that should decode at the same time, each with :attr:`MaskModel.worker`.
    mask_input: whether the decoder takes the logits of an earlier mask.
    device: where the model runs: "cpu", "cuda:0", "CPUExecutionProvider" ...
    """

    masks_per_prompt: int = len(ALL_MASKS)
    prompt_batch: int = 1
    encode_batch: int = 1
    workers: int = 1
    mask_input: bool = True
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Embedding:
    """An encoded image.

    features: (1, 256, 64, 64) in the array type of the backend.
    original_hw: (height, width) of the image as given.
    input_hw: (height, width) in the model frame, before padding.
    image_digest: sha256 of the image's RGB pixels and size, or "" if unknown.
    """

    features: Any
    original_hw: tuple[int, int]
    input_hw: tuple[int, int]
    image_digest: str = ""


@dataclass(frozen=True, eq=False)
class Scored:
    """The predicted IoUs of B prompts, before masks are computed.

    iou_predictions: (B, C) float32, by mask index.
    state: what :meth:`MaskModel.upscale` needs, in a form of the backend.
    """

    iou_predictions: FloatArray
    state: Any


class Decoded(NamedTuple):
    """low_res_logits: (B, C, 256, 256) float32; iou_predictions: (B, C) float32."""

    low_res_logits: FloatArray
    iou_predictions: FloatArray


def complete(logits: FloatArray, side: int) -> FloatArray:
    """Return logits, (K, h, w), as (K, side, side), filled with :data:`NOT_MADE`."""
    if logits.shape[1:] == (side, side):
        return logits
    whole = np.full((len(logits), side, side), NOT_MADE)
    whole[:, : logits.shape[1], : logits.shape[2]] = logits
    return whole


def encode_groups(
    images: Sequence[UInt8Array],
    most: int,
    encode: Callable[[Sequence[UInt8Array]], Sequence[tuple[Any, tuple[int, int]]]],
) -> list[Embedding]:
    """Return the embeddings of images, at most ``most`` of which are prepared at the same time.

    encode: returns the features of each image and its (height, width) in the model frame.
    """
    return [
        Embedding(features, (image.shape[0], image.shape[1]), input_hw, image_digest(image))
        for start in range(0, len(images), most)
        for group in [images[start : start + most]]
        for image, (features, input_hw) in zip(group, encode(group), strict=True)
    ]


class MaskModel(abc.ABC):
    """An image encoder and a mask decoder behind NumPy arrays.

    choosers: what chooses the mask of a click or a box, if it was learned on :attr:`source_weights_id`.
    """

    image_size: int = 1024
    mask_threshold: float = MASK_THRESHOLD
    choosers: Choosers = PUBLISHED

    @property
    @abc.abstractmethod
    def capabilities(self) -> Capabilities:
        """What the model supports, and where it runs."""

    @property
    @abc.abstractmethod
    def weights_id(self) -> str:
        """A digest of the weights."""

    @property
    def source_weights_id(self) -> str:
        """The ``weights_id`` of the weights that quantized ones were made from; :attr:`weights_id` otherwise."""
        return self.weights_id

    @abc.abstractmethod
    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        """Encode an image, (H, W, 3) uint8 RGB.

        fast_padding: encode only the rows and columns of tokens that the image covers, and copy the rest from the
            embedding of an empty square. Faster for images that are not square; the embedding differs slightly from
            that of the padded square.
        """

    def encode_batch(self, images: Sequence[UInt8Array], *, fast_padding: bool = False) -> list[Embedding]:
        """Encode images, each (H, W, 3) uint8 RGB of any size, several in one call of the encoder where that is faster.

        On a CPU it is not, and the embeddings are those of :meth:`encode`; see :attr:`Capabilities.encode_batch`.
        """
        return [self.encode(image, fast_padding=fast_padding) for image in images]

    @abc.abstractmethod
    def score_prompts(self, embedding: Embedding, prompts: Prompts) -> Scored:
        """Predict the IoU of every mask of every prompt, without computing the masks."""

    @abc.abstractmethod
    def upscale(self, scored: Scored, keep: IntArray, input_hw: tuple[int, int] | None = None) -> FloatArray:
        """Compute masks of scored prompts: (K, 256, 256) float32 logits.

        keep: (K, 2) int64, rows (prompt, mask).
        input_hw: (height, width) of the image in the model frame; logits that no pixel of it depends on may be
            :data:`NOT_MADE`. The whole square by default.
        """

    @abc.abstractmethod
    def load_features(self, features: Any) -> Any:
        """Return features, (1, 256, 64, 64), an array or a tensor, in the array type of the backend."""

    @abc.abstractmethod
    def dump_features(self, features: Any) -> FloatArray:
        """Return :attr:`Embedding.features` as a (1, 256, 64, 64) float32 array."""

    def nms(self, boxes: Array, scores: AnyFloatArray, iou_threshold: float) -> IntArray:
        """Return the result of :func:`mobilesam.masks.boxes.nms`, which a model may compute on its device."""
        return nms(boxes, scores, iou_threshold)

    @property
    def decode_batch(self) -> int:
        """Number of prompts of one decoder call in :meth:`decode`."""
        return self.capabilities.prompt_batch

    @property
    def worker(self) -> MaskModel:
        """A model with equal results for use in several threads at once; it may use fewer threads in each call."""
        return self

    def in_workers(self, function: Callable[[MaskModel, Part], Result], parts: Sequence[Part]) -> list[Result]:
        """Return ``function(worker, part)`` for each part, in order, computed in a thread for each worker."""
        workers = min(self.capabilities.workers, len(parts))
        if workers <= 1:
            return [function(self, part) for part in parts]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(partial(function, self.worker), parts))

    def decode(self, embedding: Embedding, prompts: Prompts, mask_indices: Sequence[int]) -> Decoded:
        """Score prompts and compute their masks.

        Args:
            mask_indices: which masks to compute for each prompt, such as :data:`mobilesam.config.SINGLE_MASK`,
                ``MULTIMASK`` or ``ALL_MASKS``.

        Returns:
            C masks for each of the B prompts, in the order of ``mask_indices``.
        """

        def decode(worker: MaskModel, part: Prompts) -> Decoded:
            scored = worker.score_prompts(embedding, part)
            keep = [(prompt, mask) for prompt in range(len(part)) for mask in mask_indices]
            masks = worker.upscale(scored, np.array(keep, dtype=np.int64))
            low_res_logits = masks.reshape(len(part), len(mask_indices), *masks.shape[-2:])
            return Decoded(low_res_logits, scored.iou_predictions.take(mask_indices, axis=1))

        size = self.decode_batch
        parts = [prompts[start : start + size] for start in range(0, len(prompts), size)]
        logits, iou_predictions = zip(*self.in_workers(decode, parts), strict=True)
        return Decoded(np.concatenate(logits), np.concatenate(iou_predictions))


class Wrapped(MaskModel):
    """A model that forwards to another one; the base of classes that change some methods."""

    def __init__(self, model: MaskModel) -> None:
        self._model = model
        self.image_size = model.image_size
        self.mask_threshold = model.mask_threshold
        self.choosers = model.choosers

    @property
    def capabilities(self) -> Capabilities:
        return self._model.capabilities

    @property
    def weights_id(self) -> str:
        return self._model.weights_id

    @property
    def source_weights_id(self) -> str:
        return self._model.source_weights_id

    @property
    def worker(self) -> MaskModel:
        return self._model.worker

    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        return self._model.encode(image, fast_padding=fast_padding)

    def score_prompts(self, embedding: Embedding, prompts: Prompts) -> Scored:
        return self._model.score_prompts(embedding, prompts)

    def upscale(self, scored: Scored, keep: IntArray, input_hw: tuple[int, int] | None = None) -> FloatArray:
        return self._model.upscale(scored, keep, input_hw)

    def nms(self, boxes: Array, scores: AnyFloatArray, iou_threshold: float) -> IntArray:
        return self._model.nms(boxes, scores, iou_threshold)

    def decode(self, embedding: Embedding, prompts: Prompts, mask_indices: Sequence[int]) -> Decoded:
        return self._model.decode(embedding, prompts, mask_indices)

    def load_features(self, features: Any) -> Any:
        return self._model.load_features(features)

    def dump_features(self, features: Any) -> FloatArray:
        return self._model.dump_features(features)
