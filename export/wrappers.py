"""The graphs as modules, which only call methods of the model.

``forward`` takes the inputs of the graph of the same name in :mod:`mobilesam.onnx.contract`, in its order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilesam.config import STABILITY_OFFSET
from mobilesam.export.plan import Plan
from mobilesam.masks import chooser
from mobilesam.masks.selection import LEARNED
from mobilesam.modeling import Sam
from mobilesam.modeling.transformer import ImageTokens
from mobilesam.onnx import contract
from mobilesam.prompts.arrays import ABSENT, BOX_START, PADDING, Prompts


class Wrapper(nn.Module):
    """A part of a Sam."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam
        self.eval()

    def dense(self, mask_input: Tensor, has_mask_input: Tensor) -> Tensor:
        """Embed masks; a flag of 0 gives the embedding of prompts without a mask."""
        encoder = self.sam.prompt_encoder
        return has_mask_input * encoder.embed_masks(mask_input) + (1 - has_mask_input) * encoder.embed_no_mask()

    @staticmethod
    def absent(point_labels: Tensor) -> Tensor:
        """Return 1 for each point of the label of absent points, else 0."""
        return 1 - (point_labels - ABSENT).abs().clamp(max=1)


class Encoder(Wrapper):
    """Normalized pixels to an embedding."""

    def forward(self, input_image: Tensor) -> Tensor:
        return self.sam.image_encoder(input_image)


class Preprocessing(Wrapper):
    """RGB pixels in 0..255, (h, w, 3), to normalized and padded pixels, (1, 3, 1024, 1024)."""

    def forward(self, input_image: Tensor) -> Tensor:
        return self.sam.preprocess(input_image.permute(2, 0, 1).unsqueeze(0).to(torch.float32))


class EncoderOfPixels(Preprocessing):
    """RGB pixels in 0..255, (h, w, 3), to an embedding."""

    def forward(self, input_image: Tensor) -> Tensor:
        return self.sam.image_encoder(super().forward(input_image))


class Image(Wrapper):
    """The image side of the split decoder, with or without masks."""

    def forward(self, image_embeddings: Tensor, mask_input: Tensor, has_mask_input: Tensor) -> tuple[Tensor, ...]:
        dense = self.dense(mask_input, has_mask_input)
        return tuple(self.sam.mask_decoder.prepare(image_embeddings, self.sam.prompt_encoder.get_dense_pe(), dense))


class Score(Wrapper):
    """The scores of prompts in the split decoder."""

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        key: Tensor,
        value: Tensor,
        query: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
    ) -> tuple[Tensor, ...]:
        sparse = self.sam.prompt_encoder.embed_points(point_coords, point_labels)
        image = ImageTokens(tokens, positions, key, value, query)
        return tuple(self.sam.mask_decoder.score(image, sparse, self.absent(point_labels)))


class Upscale(Wrapper):
    """All masks of prompts, on the grid or a part of it."""

    def forward(self, kernels: Tensor, image_tokens: Tensor) -> Tensor:
        decoder = self.sam.mask_decoder
        return decoder.upscale(kernels, image_tokens, 0, decoder.num_mask_tokens)


class Decoder(Wrapper):
    """The SAM decoder for one prompt; options as in :func:`mobilesam.onnx.contract.decoder`."""

    def __init__(
        self, sam: Sam, return_single_mask: bool, use_stability_score: bool, extra_metrics: bool, low_res_only: bool
    ) -> None:
        super().__init__(sam)
        self.return_single_mask = return_single_mask
        self.use_stability_score = use_stability_score
        self.extra_metrics = extra_metrics
        self.low_res_only = low_res_only

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        encoder, decoder = self.sam.prompt_encoder, self.sam.mask_decoder
        point_coords, point_labels = self.set_padding(point_coords, point_labels)
        sparse = encoder.embed_points(point_coords, point_labels)
        dense = self.dense(mask_input, has_mask_input)
        absent = self.absent(point_labels)
        low_res, scores = decoder.predict_masks(image_embeddings, encoder.get_dense_pe(), sparse, dense, absent)
        if self.use_stability_score:
            scores = self.stability(low_res)
        if self.return_single_mask:
            low_res, scores = self.select_masks(low_res, scores, (1 - absent).sum(dim=1, keepdim=True))
        if self.low_res_only:
            return scores, low_res
        assert orig_im_size is not None
        masks = self.mask_postprocessing(low_res, orig_im_size)
        if self.extra_metrics:
            areas = (masks > self.sam.mask_threshold).sum(dim=(-1, -2)).to(masks.dtype)
            return masks, scores, self.stability(masks), areas, low_res
        return masks, scores, low_res

    def set_padding(self, point_coords: Tensor, point_labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points as they are; padding is the caller's."""
        return point_coords, point_labels

    def stability(self, masks: Tensor) -> Tensor:
        """Return the stability score, in 0..1: the ratio of the areas at a higher and a lower threshold."""
        threshold = self.sam.mask_threshold
        inner = (masks > threshold + STABILITY_OFFSET).sum(dim=(-1, -2))
        outer = (masks > threshold - STABILITY_OFFSET).sum(dim=(-1, -2))
        return inner.to(masks.dtype) / outer.to(masks.dtype)

    def mask_postprocessing(self, masks: Tensor, orig_im_size: Tensor) -> Tensor:
        """Resize low-resolution logits, (B, C, 256, 256), to an image of ``orig_im_size``, (2,) height and width."""
        side = self.sam.config.image_size
        size = orig_im_size.to(torch.float64)
        resized = self.resize_longest_image_size(size, side)
        # In a trace by PyTorch's older exporter, numbers would become constants.
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return self.sam.postprocess_masks(masks, tuple(resized), tuple(size.to(torch.int64)))
        input_hw, original_hw = (tuple(each.to(torch.int64).tolist()) for each in (resized, size))
        for length in (*input_hw, *original_hw):
            torch._check(length > 0)
        for length in input_hw:
            torch._check(length <= side)
        return self.sam.postprocess_masks(masks, input_hw, original_hw)

    @staticmethod
    def resize_longest_image_size(input_image_size: Tensor, longest_side: int) -> Tensor:
        """Return (height, width) in the model frame, (2,) int64, as :func:`mobilesam.geometry.resized_hw`."""
        size = input_image_size.to(torch.float64)
        # full_like, because with a plain number this is a product with a reciprocal, which rounds differently.
        longer = torch.maximum(size[:1], size[1:])
        resized = torch.floor(size * (torch.full_like(longer, longest_side) / longer) + 0.5).clamp(min=1)
        return resized.to(torch.int64)

    @staticmethod
    def select_masks(masks: Tensor, iou_preds: Tensor, num_points: int | Tensor) -> tuple[Tensor, Tensor]:
        """Return the single-mask output for three points or more, padding counted, else the best multimask output.

        Args:
            masks: (B, C, h, w). iou_preds: (B, C). num_points: one number, or (B, 1).
        """
        batch, count = iou_preds.shape
        best = _best(iou_preds, num_points) + count * torch.arange(batch)
        chosen = (each.flatten(0, 1).index_select(0, best) for each in (masks, iou_preds))
        low_res, scores = (each.unsqueeze(1) for each in chosen)
        return low_res, scores


class SingleMask(Decoder):
    """The SAM decoder with the single-mask output, whatever the number of points."""

    def __init__(self, sam: Sam) -> None:
        super().__init__(sam, True, use_stability_score=False, extra_metrics=False, low_res_only=False)

    @staticmethod
    def select_masks(masks: Tensor, iou_preds: Tensor, num_points: int | Tensor) -> tuple[Tensor, Tensor]:
        """Return the first mask of each prompt, (B, 1, h, w), and its predicted IoU, (B, 1)."""
        return masks[:, :1], iou_preds[:, :1]


class ToolDecoder(SingleMask):
    """The decoder of annotation tools, :mod:`mobilesam.export.tool_decoder`: it sets the padding of prompts itself."""

    def set_padding(self, point_coords: Tensor, point_labels: Tensor) -> tuple[Tensor, Tensor]:
        """Leave out the padding points of the prompt and, if it has no box, add one."""
        is_padding = 1 - (point_labels - PADDING).abs().clamp(max=1)
        point_labels = point_labels + (ABSENT - PADDING) * is_padding
        has_box = (point_labels.amax(dim=1, keepdim=True) - (BOX_START - 1)).clamp(0, 1)
        last = PADDING + (ABSENT - PADDING) * has_box
        return functional.pad(point_coords, (0, 0, 0, 1)), torch.cat([point_labels, last], dim=1)


class LearnedDecoder(Wrapper):
    """The SAM decoder with the learned chooser inside, :mod:`mobilesam.export.learned_decoder`; not to be traced."""

    def __init__(self, sam: Sam, extra_metrics: bool) -> None:
        super().__init__(sam)
        options = {"use_stability_score": False, "extra_metrics": extra_metrics, "low_res_only": False}
        self.decoder = Decoder(sam, return_single_mask=False, **options)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of the decoder for the chosen mask, and its confidence; inputs as of :class:`Decoder`."""
        _, point_coords, point_labels, mask_input, has_mask_input, orig_im_size = inputs
        _, scores, *_, low_res = outputs = self.decoder(*inputs)
        masks = mask_input.numpy() if has_mask_input else None
        count = (1 - self.absent(point_labels)).sum(dim=1, keepdim=True)
        index, confidence = int(_best(scores, count)), math.nan
        if Prompts(point_coords.numpy(), point_labels.numpy(), masks).single_point:
            size = self.decoder.resize_longest_image_size(orig_im_size, self.sam.config.image_size)
            height, width = size.tolist()
            click = point_coords[0, 0].numpy()
            four = (low_res[0].numpy(), scores[0].numpy())
            learned = self.sam.choosers.point.arrays
            expected = chooser.confidences(*four, click, (height, width), learned=learned)
            index, confidence = int(expected.argmax()), float(expected.max())
        return (*(each[:, [index]] for each in outputs), torch.tensor([confidence]))


def _best(iou_preds: Tensor, num_points: int | Tensor) -> Tensor:
    preference = torch.tensor([[1000.0] + [0.0] * (iou_preds.shape[1] - 1)])
    return (iou_preds + (num_points - 2.5) * preference).argmax(dim=1)


class Job(NamedTuple):
    """A graph, and the module that computes it."""

    graph: contract.Graph
    module: Wrapper


def jobs(plan: Plan, sam: Sam) -> Iterator[Job]:
    """Yield the graphs of a plan with their modules."""
    encoder = Encoder if plan.preprocess == "none" else EncoderOfPixels
    of_reference = functools.partial(
        Decoder,
        return_single_mask=plan.return_single_mask,
        use_stability_score=plan.use_stability_score,
        extra_metrics=plan.return_extra_metrics,
        low_res_only=plan.low_res_only,
    )
    learned = functools.partial(LearnedDecoder, extra_metrics=plan.return_extra_metrics)
    decoder = learned if plan.select == LEARNED else of_reference
    modules: dict[str, Callable[[Sam], Wrapper]] = {"encoder": encoder, "decoder": decoder}
    modules |= {"image": Image, "score": Score, "upscale": Upscale}
    for graph in plan.graphs:
        if graph.role in modules:  # all but the chooser, which is not a part of the network
            yield Job(graph, modules[graph.role](sam))
