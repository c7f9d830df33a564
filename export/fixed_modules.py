"""The network as modules of fixed shapes, for the graphs of :mod:`mobilesam.onnx.fixed`."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilesam.export import wrappers
from mobilesam.export.chooser_graph import make_chooser
from mobilesam.export.onnx_module import OnnxModule
from mobilesam.modeling import Sam
from mobilesam.modeling.prompt_encoder import PositionEmbeddingRandom
from mobilesam.modeling.tiny_vit_sam import Attention, TinyViTBlock
from mobilesam.onnx import contract, fixed


class FrameEncoder(nn.Module):
    """Normalized pixels of a frame to the embedding of the square, whose other tokens are those of an empty image."""

    right: Tensor | None
    below: Tensor | None

    def __init__(self, sam: Sam, frame_hw: tuple[int, int]) -> None:
        super().__init__()
        self.image_encoder = sam.image_encoder
        side = contract.IMAGE_SIZE
        height, width = (each * contract.GRID_SIZE // side for each in frame_hw)
        with torch.no_grad():
            empty = sam.image_encoder(torch.zeros(1, 3, side, side)) if frame_hw != (side, side) else None
        self.register_buffer("right", None if empty is None else empty[..., :height, width:].contiguous())
        self.register_buffer("below", None if empty is None else empty[..., height:, :].contiguous())

    def forward(self, input_image: Tensor) -> Tensor:
        features: Tensor = self.image_encoder(input_image)
        for axis, missing in ((3, self.right), (2, self.below)):
            if missing is not None and missing.numel():
                features = torch.cat([features, missing], dim=axis)
        return features


class GridPositions(PositionEmbeddingRandom):
    """Position embeddings of the grid by a convolution, which converters leave in the graph.

    They would store the result of other operators on constants, 4 MB.
    """

    centers: Tensor

    def __init__(self, original: PositionEmbeddingRandom, side: int) -> None:
        super().__init__(original.positional_encoding_gaussian_matrix.shape[1])
        self.load_state_dict(original.state_dict())
        self.eval()
        steps = 2 * (torch.arange(side) + 0.5) / side - 1
        self.register_buffer("centers", torch.stack(torch.meshgrid(steps, steps, indexing="xy"))[None])

    def forward(self, size: tuple[int, int]) -> Tensor:
        """Encode the centers of the grid, (h, w) cells: (E, h, w)."""
        weight = 2 * math.pi * self.positional_encoding_gaussian_matrix.t()
        angles = functional.conv2d(self.centers, weight[..., None, None])[0]
        return torch.cat([angles.sin(), angles.cos()])


class WindowBias(nn.Module):
    """Biases of attention in a window by a convolution, which converters leave in the graph.

    They would store the bias of each pair of tokens, 4.6 MB, instead of that of each offset. The convolution moves the
    table of offsets to the place of each token.
    """

    kernel: Tensor
    places: Tensor

    def __init__(self, biases: Tensor) -> None:
        super().__init__()
        heads, count = biases.shape
        self.side = math.isqrt(count)
        distance = torch.arange(1 - self.side, self.side).abs()
        table = biases.detach().view(heads, self.side, self.side)[:, distance][:, :, distance]
        self.register_buffer("kernel", table[:, None].contiguous())  # (M, 1, 2S - 1, 2S - 1)
        self.register_buffer("places", _places(self.side))

    def forward(self) -> Tensor:
        """Return (1, M, N, N)."""
        biases = functional.conv2d(self.places, self.kernel, padding=self.side - 1)  # (N, M, S, S)
        return biases.flatten(2).transpose(0, 1)[None]


@functools.cache
def _places(side: int) -> Tensor:
    """Return an image of each token of a window, (N, 1, S, S), which is one there and zero elsewhere."""
    return torch.eye(side * side).view(-1, 1, side, side)


class FixedAttention(Attention):
    """Attention with the biases of :class:`WindowBias`."""

    def __init__(self, original: Attention) -> None:
        heads, count = original.attention_biases.shape
        super().__init__(original.qkv.in_features, heads, math.isqrt(count))
        self.load_state_dict(original.state_dict())
        self.window_bias = WindowBias(original.attention_biases)
        self.eval()

    def bias(self) -> Tensor:
        return self.window_bias()


class Named(nn.Module):
    """A module that takes and returns tensors by the names of a graph."""

    def __init__(self, module: nn.Module, graph: contract.Graph) -> None:
        super().__init__()
        self.module, self.graph = module, graph
        self.eval()

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the graph."""
        outputs = self.module(*(inputs[name] for name in self.graph.input_names))
        return dict(zip(self.graph.output_names, [outputs] if isinstance(outputs, Tensor) else outputs, strict=True))

    def samples(self) -> dict[str, Tensor]:
        """Return inputs of the shapes of the graph."""
        return {value.name: torch.ones([int(dim) for dim in value.shape]) for value in self.graph.inputs}


def modules(sam: Sam, points: int, frame_hw: tuple[int, int], roles: Sequence[str]) -> Iterator[Named]:
    """Yield the modules of graphs of :func:`mobilesam.onnx.fixed.graphs`, by their roles."""
    decoder = {"return_single_mask": False, "use_stability_score": False, "extra_metrics": False, "low_res_only": True}
    sam = copy.deepcopy(sam)
    sam.prompt_encoder.pe_layer = GridPositions(sam.prompt_encoder.pe_layer, sam.config.grid_size)
    made: dict[str, Callable[[], nn.Module]] = {
        "encoder": lambda: FrameEncoder(sam, frame_hw),
        "image": lambda: wrappers.Image(sam),
        "score": lambda: wrappers.Score(sam),
        "upscale": lambda: wrappers.Upscale(sam),
        "decoder": lambda: wrappers.Decoder(sam, **decoder),
        "chooser": lambda: OnnxModule(make_chooser(sam.choosers.point, "")[0].graph, fixed.CHOOSER.output_names),
    }
    for block in [each for each in sam.image_encoder.modules() if isinstance(each, TinyViTBlock)]:
        block.attn = FixedAttention(block.attn)
    graphs = fixed.graphs(points, frame_hw)
    for role in roles:
        yield Named(made[role](), graphs[role])
