"""The model protocol on PyTorch, for :class:`mobilesam.modeling.Sam`."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mobilesam.arrays import AnyFloatArray, Array, FloatArray, IntArray, UInt8Array
from mobilesam.config import EncoderConfig
from mobilesam.errors import InputError, sentence
from mobilesam.geometry import covered_tokens
from mobilesam.image.model_input import complete_features, empty_input, encode_together, encoder_input
from mobilesam.masks import device_nms
from mobilesam.masks.choosers import Choosers
from mobilesam.model import Capabilities, Embedding, MaskModel, Scored, complete, encode_groups
from mobilesam.modeling import Sam
from mobilesam.modeling.mask_decoder import PromptScores
from mobilesam.modeling.transformer import ImageTokens
from mobilesam.prompts.arrays import Prompts
from mobilesam.weights.checkpoint import state_digest

# Prompts in one call. On a CPU the image tokens of a prompt, 4 MB, should stay in the cache; a GPU needs many prompts.
_CPU_BATCH, _ACCELERATOR_BATCH = 2, 64
_ACCELERATOR_IMAGES = 8  # in one call; on a CPU each image of a larger batch takes longer than a single one


class TorchSam(MaskModel):
    """A Sam with NumPy arrays as input and output.

    The image tokens of an embedding are kept as long as the embedding, and computed again if the weights have changed.
    """

    def __init__(self, sam: Sam) -> None:
        self.sam = sam
        self.image_size = sam.config.image_size
        self.mask_threshold = sam.mask_threshold
        self._images: weakref.WeakKeyDictionary[Embedding, tuple[object, ImageTokens]] = weakref.WeakKeyDictionary()
        self._empty_features: tuple[object, Tensor] | None = None
        self._weights_id: tuple[object, str] | None = None

    @property
    def capabilities(self) -> Capabilities:
        on_cpu = self.sam.device.type == "cpu"
        return Capabilities(
            prompt_batch=_CPU_BATCH if on_cpu else _ACCELERATOR_BATCH,
            encode_batch=1 if on_cpu else _ACCELERATOR_IMAGES,
            device=str(self.sam.device),
        )

    @property
    def decode_batch(self) -> int:
        # On a CPU the sums of a batch depend on its size. Decoding prompts one by one is as fast, and gives each prompt
        # the same mask to the bit, whatever the other prompts are.
        return 1 if self.sam.device.type == "cpu" else self.capabilities.prompt_batch

    @property
    def weights_id(self) -> str:
        version = _version(self.sam)
        if self._weights_id is None or self._weights_id[0] != version:
            state = {key: value.float().cpu().numpy() for key, value in self.sam.state_dict().items()}
            self._weights_id = version, state_digest(state)
        return self._weights_id[1]

    @property
    def choosers(self) -> Choosers:
        return self.sam.choosers

    @choosers.setter
    def choosers(self, choosers: Choosers) -> None:
        self.sam.choosers = choosers

    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        return self.encode_batch([image], fast_padding=fast_padding)[0]

    def encode_batch(self, images: Sequence[UInt8Array], *, fast_padding: bool = False) -> list[Embedding]:
        encoder = self.sam.config.encoder
        if fast_padding and not isinstance(encoder, EncoderConfig):
            actual = f"True for {self.sam.config.name}, whose position embeddings are those of the whole square"
            raise InputError(sentence("fast_padding", "be False for this network", actual, "leave it out"))
        patch_size = encoder.patch_size if fast_padding else None
        most = self.capabilities.encode_batch

        def encode(group: Sequence[UInt8Array]) -> list[tuple[Tensor, tuple[int, int]]]:
            inputs = [encoder_input(image, self.image_size, patch_size) for image in group]
            encoded = encode_together(lambda pixels: self.encode_tensor(torch.from_numpy(pixels)), inputs, most)
            return [(complete_features(each, self._empty()), hw) for each, hw in encoded] if fast_padding else encoded

        return encode_groups(images, most, encode)

    @torch.no_grad()
    def encode_tensor(self, pixels: Tensor) -> Tensor:
        """Embed normalized and padded pixels, (B, 3, 1024, 1024), to (B, 256, 64, 64)."""
        return self.sam.image_encoder(pixels.to(self.sam.device, self._dtype))  # type: ignore[no-any-return]

    def score_prompts(self, embedding: Embedding, prompts: Prompts) -> Scored:
        scores = self.score_tensors(
            embedding,
            self._tensor(prompts.point_coords),
            self._tensor(prompts.point_labels),
            None if prompts.mask_input is None else self._tensor(prompts.mask_input),
        )
        return Scored(scores.iou_predictions.float().cpu().numpy(), scores)

    @torch.no_grad()
    def upscale(self, scored: Scored, keep: IntArray, input_hw: tuple[int, int] | None = None) -> FloatArray:
        # Upscaling runs for all kept prompts and for the range of kept masks.
        prompts, position = np.unique(keep[:, 0], return_inverse=True)
        first, last = int(keep[:, 1].min()), int(keep[:, 1].max()) + 1
        kernels, image_tokens = scored.state.kernels, self._grid(scored.state.image_tokens)
        if len(prompts) < len(kernels):  # else all of them, without a copy
            chosen = torch.from_numpy(prompts)
            kernels, image_tokens = kernels[chosen], image_tokens[chosen]
        rows, columns = image_tokens.shape[1:3]
        if input_hw is not None:
            rows, columns = covered_tokens(input_hw, self.image_size, rows)
        masks = self.sam.mask_decoder.upscale(kernels, image_tokens[:, :rows, :columns], first, last)
        wanted = masks[torch.from_numpy(position), torch.from_numpy(keep[:, 1] - first)]
        return complete(wanted.float().cpu().numpy(), self.sam.config.logits_size)

    @torch.no_grad()
    def score_tensors(
        self, embedding: Embedding, point_coords: Tensor, point_labels: Tensor, mask_input: Tensor | None
    ) -> PromptScores:
        """Score prompts given as tensors on the model's device; see :class:`mobilesam.prompts.arrays.Prompts`."""
        sparse = self.sam.prompt_encoder.embed_points(point_coords, point_labels)
        if mask_input is None:
            image = self._image_tokens(embedding)
        else:
            image = self._prepare(embedding, self.sam.prompt_encoder.embed_masks(mask_input.to(self._dtype)))
        return self.sam.mask_decoder.score(image, sparse)

    @torch.no_grad()
    def decode_tensors(
        self,
        embedding: Embedding,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        mask_input: Tensor | None,
        mask_indices: Sequence[int],
    ) -> tuple[Tensor, Tensor]:
        """Decode B prompts, the arguments of SAM's prompt encoder, to logits (B, C, 256, 256) and IoUs (B, C).

        mask_indices: indices of adjacent masks, in order.
        """
        decoder = self.sam.mask_decoder
        first, last = mask_indices[0], mask_indices[-1] + 1
        masks = None if mask_input is None else mask_input.to(self._dtype)
        sparse, dense = self.sam.prompt_encoder(points, boxes, masks)
        logits, iou_predictions = [], []
        for start in range(0, max(1, len(sparse)), self.capabilities.prompt_batch):
            part = slice(start, start + self.capabilities.prompt_batch)
            image = self._image_tokens(embedding) if masks is None else self._prepare(embedding, dense[part])
            scores = decoder.score(image, sparse[part])
            logits.append(decoder.upscale(scores.kernels, self._grid(scores.image_tokens), first, last))
            iou_predictions.append(scores.iou_predictions[:, first:last])
        return torch.cat(logits), torch.cat(iou_predictions)

    def nms(self, boxes: Array, scores: AnyFloatArray, iou_threshold: float) -> IntArray:
        if self.sam.device.type == "cpu" or not device_nms.available():
            return super().nms(boxes, scores, iou_threshold)
        return device_nms.nms(boxes, scores, iou_threshold, self.sam.device)

    def load_features(self, features: Any) -> Tensor:
        tensor = features if isinstance(features, Tensor) else self._tensor(features)
        return tensor.to(self.sam.device, self._dtype)

    def dump_features(self, features: Any) -> FloatArray:
        return features.float().cpu().numpy()  # type: ignore[no-any-return]

    def _grid(self, image_tokens: Tensor) -> Tensor:
        """(B, L, E) -> (B, h, w, E)."""
        return image_tokens.unflatten(1, (self.sam.config.grid_size,) * 2)  # type: ignore[no-any-return]

    @property
    def _dtype(self) -> torch.dtype:
        return self.sam.mask_decoder.iou_token.weight.dtype

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.sam.device)

    def _image_tokens(self, embedding: Embedding) -> ImageTokens:
        version = (_version(self.sam.mask_decoder), _version(self.sam.prompt_encoder))
        cached = self._images.get(embedding)
        if cached is None or cached[0] != version:
            cached = version, self._prepare(embedding, self.sam.prompt_encoder.embed_no_mask())
            self._images[embedding] = cached
        return cached[1]

    def _empty(self) -> Tensor:
        """Return the embedding of a square of padding alone, computed once for the current weights."""
        version = _version(self.sam.image_encoder)
        if self._empty_features is None or self._empty_features[0] != version:
            pixels = torch.from_numpy(empty_input(self.image_size))
            self._empty_features = (version, self.encode_tensor(pixels))
        return self._empty_features[1]

    def _prepare(self, embedding: Embedding, dense: Tensor) -> ImageTokens:
        return self.sam.mask_decoder.prepare(embedding.features, self.sam.prompt_encoder.get_dense_pe(), dense)


def _version(module: torch.nn.Module) -> list[tuple[int, int]]:
    """Return a value that changes whenever a weight is loaded, moved, cast or trained.

    It is computed for every prompt, and ``parameters()`` of torch takes a millisecond for a decoder.
    """
    own = (*module._parameters.values(), *module._buffers.values())
    version = [(tensor.data_ptr(), tensor._version) for tensor in own if tensor is not None]
    for part in module._modules.values():
        if part is not None:
            version += _version(part)
    return version
