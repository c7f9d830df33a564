"""The parameters that are trained: those of decoder and prompt encoder, low-rank updates alone, or the neck as well.

The network stays in eval mode: TinyViT's batch norms would otherwise drift within an epoch. The image encoder below the
neck is never trained, so an image is encoded once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.modeling import Sam
from mobilesam.modeling.torch_sam import TorchSam
from mobilesam.modeling.transformer import Attention


class LowRank(nn.Module):
    """A weight plus a product of two narrow matrices, of which the second begins at zero (Hu et al. 2021, LoRA)."""

    def __init__(self, outputs: int, inputs: int, rank: int, random: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, inputs, generator=random) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def prepare(sam: Sam, *, lora: int | None, neck: bool, seed: int) -> list[nn.Parameter]:
    """Freeze a network but for the parameters to train, and return these.

    Args:
        lora: the rank of updates of the decoder's attention, which are trained instead of all its parameters.
        neck: whether to train the encoder's neck too.
    """
    sam.requires_grad_(False)
    if lora is None:
        sam.mask_decoder.requires_grad_(True)
        sam.prompt_encoder.requires_grad_(True)
    else:
        random = torch.Generator().manual_seed(seed)
        linears = [part for module in sam.mask_decoder.modules() if isinstance(module, Attention)
                   for part in module.children() if isinstance(part, nn.Linear)]  # fmt: skip
        for linear in linears:
            update = LowRank(linear.out_features, linear.in_features, lora, random)
            parametrize.register_parametrization(linear, "weight", update.to(linear.weight.device))
            linear.parametrizations.weight.original.requires_grad_(False)  # type: ignore[union-attr]
    if neck:
        sam.image_encoder.neck.requires_grad_(True)
    sam.eval()
    return [parameter for parameter in sam.parameters() if parameter.requires_grad]


@torch.no_grad()
def neck_input(sam: Sam, image: UInt8Array) -> FloatArray:
    """Return the input of the encoder's neck for an image, (H, W, 3) uint8 RGB: (1, C, 64, 64)."""
    seen: list[Tensor] = []
    hook = sam.image_encoder.neck.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        TorchSam(sam).encode(image)
    finally:
        hook.remove()
    return seen[0].float().cpu().numpy()


def merged(sam: Sam) -> Sam:
    """Return a copy of a network with its low-rank updates added to the weights."""
    original, update = ".parametrizations.weight.original", ".parametrizations.weight.0."
    state = {}
    for key, value in sam.state_dict().items():
        if key.endswith(original):
            name = key.removesuffix(original)
            weight = sam.get_submodule(name).weight
            assert isinstance(weight, Tensor)
            state[f"{name}.weight"] = weight.detach()
        elif update not in key:
            state[key] = value
    copied = Sam(sam.config).to(sam.device, dtype=sam.mask_decoder.iou_token.weight.dtype)
    copied.load_state_dict(state)
    return copied.requires_grad_(False)
