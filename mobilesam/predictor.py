"""SamPredictor: SAM's class for one image and many prompts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mobilesam.arrays import FloatArray
from mobilesam.config import ALL_MASKS, MULTIMASK, SINGLE_MASK
from mobilesam.embedding import load_embedding, save_embedding
from mobilesam.errors import ImageNotSetError, InputError, sentence
from mobilesam.image import read as images
from mobilesam.image.transform import ResizeLongestSide
from mobilesam.loading import require_torch
from mobilesam.masks import upsampling as mask_tools
from mobilesam.masks.selection import choose, rule_of
from mobilesam.model import Decoded, Embedding
from mobilesam.predictor_image import PredictorImage
from mobilesam.prompts.arrays import Prompts, make_prompts
from mobilesam.segment import confidences_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class _Triple(NamedTuple):
    masks: npt.NDArray[Any]
    iou_predictions: FloatArray
    low_res_logits: FloatArray


class Prediction(_Triple):
    """The result of :meth:`SamPredictor.predict`, a tuple of three as in the reference, with one attribute more.

    masks: (C, H, W) bool in the original image, or float32 logits with ``return_logits``; (B, C, H, W) for a batch.
    iou_predictions: (C,) or (B, C) float32, the predicted IoU of each mask.
    low_res_logits: (C, 256, 256) or (B, C, 256, 256) float32; one of them can be the next ``mask_input``.
    confidence: (1,) or (B, 1) float32, the IoU to expect between the mask that :meth:`SamPredictor.predict_one`
        returns for a single point or a box alone and the object that was meant; None where it is not known. It is
        calibrated, which the predicted IoU is not: see docs/accuracy.md.
    """

    confidence: FloatArray | None

    def __new__(
        cls,
        masks: npt.NDArray[Any],
        iou_predictions: FloatArray,
        low_res_logits: FloatArray,
        confidence: FloatArray | None = None,
    ) -> Prediction:
        """Return a tuple of the first three."""
        prediction = super().__new__(cls, masks, iou_predictions, low_res_logits)
        prediction.confidence = confidence
        return prediction


class SamPredictor(PredictorImage):
    """Segments objects in one image by points, boxes and earlier masks.

    A failed ``set_image`` keeps the earlier image. Once an image is set, several threads may predict at the same time.
    The attributes of the image, such as ``features`` and ``original_size``, can be assigned: see
    :class:`mobilesam.predictor_image.PredictorImage`.

    Args:
        sam_model: a network of :data:`mobilesam.sam_model_registry`, or any model of :func:`mobilesam.load`.
        fast_padding: encode only the part of the padded square that the image covers. A 16:9 image is encoded about 1.7
            times faster; masks differ slightly from the reference's but are as accurate: see docs/accuracy.md.
    """

    fast_padding: bool = False

    def __init__(self, sam_model: Any, *, fast_padding: bool = False) -> None:
        self.model = sam_model
        self.transform = ResizeLongestSide(self.mask_model.image_size)
        self.fast_padding = fast_padding

    def set_image(self, image: Any, image_format: str = "RGB") -> None:
        """Encode an image.

        Args:
            image: (H, W, 3) uint8, or anything that :func:`mobilesam.image.read.read_image` takes: a path, a Pillow
                image, gray, RGBA, 16-bit ...
            image_format: order of the channels of an array, "RGB" or "BGR".

        Raises:
            InputError: the image cannot be used.
        """
        pixels = images.read_image(image, image_format)
        self._set(self.mask_model.encode(pixels, fast_padding=self.fast_padding))

    def set_torch_image(self, transformed_image: Tensor, original_image_size: tuple[int, ...]) -> None:
        """Encode an image that is already resized to the model frame.

        Args:
            transformed_image: (1, 3, h, w), RGB in 0..255, longer side 1024.
            original_image_size: (height, width) before resizing.

        Raises:
            InputError: the tensor has another shape.
            MissingDependencyError: the model does not run on PyTorch.
        """
        model = require_torch(self.mask_model, "set_torch_image")
        shape, size = tuple(transformed_image.shape), model.image_size
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != size:
            requirement = f"have shape (1, 3, h, w) with a longer side of {size}"
            remedy = "resize it with predictor.transform.apply_image_torch"
            raise InputError(sentence("transformed_image", requirement, shape, remedy))
        pixels = model.sam.preprocess(transformed_image.to(model.sam.device))
        height, width = original_image_size
        self._set(Embedding(model.encode_tensor(pixels), (int(height), int(width)), (shape[2], shape[3])))

    def predict(
        self,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> Prediction:
        """Segment the object of a prompt.

        Args:
            point_coords: (N, 2), x y in pixels of the original image; (B, N, 2) for B independent prompts.
            point_labels: (N,) or (B, N), 1 for foreground, 0 for background, -1 for padding.
            box: (4,) or (1, 4), x1 y1 x2 y2 in pixels of the original image; (B, 4) for B independent prompts.
            mask_input: (1, 256, 256) logits of an earlier prediction; (B, 1, 256, 256) for B prompts.
            multimask_output: return three masks, for ambiguous prompts, instead of the single-mask output.
            return_logits: return float logits instead of bool masks.

        Raises:
            ImageNotSetError: no image is set.
            InputError: a prompt cannot be used.
        """
        prompt = (point_coords, point_labels, box, mask_input)
        return self._predict(prompt, _indices(multimask_output), return_logits)

    def predict_one(
        self,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        select: str | None = None,
        return_logits: bool = False,
    ) -> Prediction:
        """Segment the object of a prompt and return one mask.

        For a single point it is more accurate than the mask of the highest predicted IoU of :meth:`predict`;
        docs/accuracy.md has the figures. The other arguments are those of :meth:`predict`.

        Args:
            select: which of the four masks to return, one of :data:`mobilesam.masks.selection.RULES`; by default
                "learned" for a single point or a box alone, and "single" for all other prompts. For weights that the
                chooser was not learned on, "agreement" for a single point and "single" for all others.

        Returns:
            As :meth:`predict`, with C = 1, and with :attr:`Prediction.confidence` for a single point or a box alone.

        Raises:
            ImageNotSetError: no image is set.
            InputError: a prompt or the rule cannot be used.
        """
        prompt = (point_coords, point_labels, box, mask_input)
        return self._predict(prompt, ALL_MASKS, return_logits, one=True, select=select)

    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Segment B prompts, tensors in the model frame as returned by ``transform.apply_coords_torch``.

        Args:
            point_coords: (B, N, 2) or None. point_labels: (B, N) or None.
            boxes: (B, 4) x1 y1 x2 y2 or None. mask_input: (B, 1, 256, 256) logits or None.
            multimask_output: return three masks for each prompt instead of one.
            return_logits: return float logits instead of bool masks.

        Returns:
            Masks (B, C, H, W), IoU predictions (B, C), low-resolution logits (B, C, 256, 256), on the model's device.

        Raises:
            ImageNotSetError: no image is set.
            MissingDependencyError: the model does not run on PyTorch.
        """
        model = require_torch(self.mask_model, "predict_torch")
        embedding = self._require_image()
        points = None if point_coords is None or point_labels is None else (point_coords, point_labels)
        low_res, iou_predictions = model.decode_tensors(
            embedding, points, boxes, mask_input, _indices(multimask_output)
        )
        masks = model.sam.postprocess_masks(low_res, embedding.input_hw, embedding.original_hw)
        return masks if return_logits else masks > model.mask_threshold, iou_predictions, low_res

    def get_image_embedding(self) -> Any:
        """Return the embedding of the image, (1, 256, 64, 64), in the array type of the model."""
        return self._require_image().features

    def save_embedding(self, path: str | os.PathLike[str]) -> None:
        """Write the embedding as .npz, with the digests of the image and the weights."""
        save_embedding(path, self._require_image(), self.mask_model)

    def load_embedding(self, path: str | os.PathLike[str], image: Any = None) -> None:
        """Set an image by an embedding that ``save_embedding`` wrote.

        Args:
            path: the .npz file.
            image: the image, to check that the embedding belongs to it.

        Raises:
            InputError: the file is not an embedding, or is one of other weights or of another image.
        """
        self._set(load_embedding(path, self.mask_model, None if image is None else images.read_image(image)))

    def reset_image(self) -> None:
        """Remove the image."""
        self._parts, self._embedding = {}, None

    @property
    def device(self) -> torch.device | str:
        """Where the model runs: a torch.device, or the name of ONNX Runtime's execution provider."""
        sam = getattr(self.mask_model, "sam", None)
        return self.mask_model.capabilities.device if sam is None else sam.device

    def _predict(
        self,
        prompt: tuple[npt.ArrayLike | None, ...],
        mask_indices: tuple[int, ...],
        return_logits: bool,
        *,
        one: bool = False,
        select: str | None = None,
    ) -> Prediction:
        """Decode prompts, select one mask of each with ``one``, and upsample the masks."""
        embedding = self._require_image()
        prompts, batched = make_prompts(*prompt, original_hw=embedding.original_hw, input_hw=embedding.input_hw)
        decoded = self.mask_model.decode(embedding, prompts, mask_indices)
        logits, iou_predictions = decoded
        confidence: FloatArray | None = None
        if one:
            logits, iou_predictions, confidence = self._choose(
                embedding, prompts, Decoded(logits, iou_predictions), select
            )
        masks = mask_tools.upsample(
            logits,
            embedding.input_hw,
            embedding.original_hw,
            self.mask_model.image_size,
            threshold=None if return_logits else self.mask_model.mask_threshold,
        )
        if batched:
            return Prediction(masks, iou_predictions, logits, confidence)
        return Prediction(masks[0], iou_predictions[0], logits[0], None if confidence is None else confidence[0])

    def _choose(
        self, embedding: Embedding, prompts: Prompts, decoded: Decoded, select: str | None
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        """Return the logits, predicted IoUs and confidences of the chosen mask of each prompt, with C = 1."""
        model = self.mask_model
        kind = {"single_point": prompts.single_point, "single_box": prompts.single_box}
        rule = rule_of(select, lambda: model.source_weights_id, **kind, choosers=model.choosers)
        every = confidences_of(model, embedding, prompts, decoded, rule)
        chosen = [choose(rule, *each) for each in zip(*decoded, every, strict=True)]
        confidences = [each[index] for each, index in zip(every, chosen, strict=True) if each is not None]
        places = np.arange(len(prompts)), np.array(chosen)
        logits, ious = (part[places][:, None] for part in decoded)
        return logits, ious, np.array(confidences, np.float32)[:, None] if confidences else None

    def _require_image(self) -> Embedding:
        embedding = self._embedding
        if embedding is None:
            raise ImageNotSetError("No image is set. Call set_image before predicting.")
        return embedding


def _indices(multimask_output: bool) -> tuple[int, ...]:
    return MULTIMASK if multimask_output else SINGLE_MASK
