"""A network small enough to run in milliseconds, of the same kind as the real one."""

from __future__ import annotations

import importlib.util

import pytest

# All of these tests are marked torch, and some import it as a whole.
collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]


@pytest.fixture
def tiny_sam():
    """A random network with windows, strides and heads like the real one's, and fewer than 200 000 parameters."""
    import torch

    from mobilesam.config import EncoderConfig, SamConfig
    from mobilesam.modeling import Sam

    encoder = EncoderConfig(embed_dims=(8, 16, 16, 24), depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 3))
    config = SamConfig(
        name="tiny",
        encoder=encoder,
        image_size=128,
        embed_dim=32,
        mask_channels=4,
        transformer_heads=4,
        transformer_mlp_dim=32,
        iou_head_dim=16,
    )
    torch.manual_seed(0)
    sam = Sam(config)
    for name, value in sam.named_parameters():
        if value.ndim == 1:
            torch.nn.init.normal_(value, mean=0.5, std=0.5)
        if name.endswith("attention_biases"):
            torch.nn.init.normal_(value, std=5)
    for name, value in sam.named_buffers():
        if name.endswith("running_mean"):
            value.normal_()
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    assert sum(parameter.numel() for parameter in sam.parameters()) < 200_000
    return sam
