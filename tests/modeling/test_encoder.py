"""The image encoder: derived values are never stale, and no size is baked in."""

from __future__ import annotations

import itertools

import pytest

pytestmark = pytest.mark.torch


def encode(sam, size=(128, 128), batch=1):
    import torch

    torch.manual_seed(1)
    pixels = torch.randn(batch, 3, *size, dtype=next(sam.parameters()).dtype)
    with torch.no_grad():
        return sam.image_encoder(pixels)


def test_built_in_eval_mode(tiny_sam):
    assert not any(module.training for module in tiny_sam.modules())


@pytest.mark.parametrize("steps", list(itertools.permutations(["eval", "load", "predict"])), ids="-".join)
def test_weights_are_used_whatever_the_order_of_eval_and_load(tiny_sam, steps):
    """The reference copies attention biases in eval() and goes on with the old ones after a load."""
    import copy

    import torch

    trained = {key: value.clone() for key, value in tiny_sam.state_dict().items()}
    expected = encode(tiny_sam)
    fresh = copy.deepcopy(tiny_sam)
    for parameter in fresh.parameters():
        torch.nn.init.zeros_(parameter)
    for step in steps:
        if step == "eval":
            assert fresh.eval() is fresh
        elif step == "load":
            fresh.load_state_dict(trained)
        else:
            encode(fresh)
    torch.testing.assert_close(encode(fresh), expected, rtol=0, atol=0)


def test_attention_biases_matter(tiny_sam):
    import torch

    before = encode(tiny_sam)
    for name, value in tiny_sam.named_parameters():
        if name.endswith("attention_biases"):
            torch.nn.init.zeros_(value)
    assert (encode(tiny_sam) - before).abs().max() > 1e-4


def test_double_and_back(tiny_sam):
    import torch

    expected = encode(tiny_sam)
    assert encode(tiny_sam.double()).dtype == torch.float64
    torch.testing.assert_close(encode(tiny_sam.float()), expected)


@pytest.mark.parametrize("dtype", ["half", "bfloat16"])
def test_low_precision_runs_and_is_near(tiny_sam, dtype):
    import torch

    expected = encode(tiny_sam)
    low = encode(getattr(tiny_sam, dtype)()).float()
    assert torch.nn.functional.cosine_similarity(low.flatten(), expected.flatten(), dim=0) > 0.999


def test_folded_batch_norm_equals_the_two_layers(tiny_sam):
    import torch

    layer = tiny_sam.image_encoder.layers[0].blocks[0].conv2
    x = torch.randn(2, 32, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer.bn(layer.c(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (32, 128), (144, 80), (224, 224)])
def test_any_multiple_of_sixteen(tiny_sam, size):
    out = encode(tiny_sam, size, batch=2)
    assert out.shape == (2, 32, size[0] // 16, size[1] // 16)


def test_batch_equals_single_photos(tiny_sam):
    import torch

    torch.manual_seed(2)
    pixels = torch.randn(3, 3, 64, 96)
    with torch.no_grad():
        together = tiny_sam.image_encoder(pixels)
        alone = torch.cat([tiny_sam.image_encoder(photo[None]) for photo in pixels])
    torch.testing.assert_close(together, alone)


def test_bias_offsets_equal_the_loop():
    from mobilesam.modeling.tiny_vit_sam import bias_offsets

    points = list(itertools.product(range(7), range(7)))
    seen: dict[tuple[int, int], int] = {}
    table = [[seen.setdefault((abs(a[0] - b[0]), abs(a[1] - b[1])), len(seen)) for b in points] for a in points]
    assert bias_offsets(7).tolist() == table


def test_unused_keys_of_the_published_file_are_dropped_and_others_are_not(tiny_sam):
    import torch

    state = tiny_sam.state_dict()
    state["image_encoder.head.weight"] = torch.zeros(1)
    state["image_encoder.norm_head.bias"] = torch.zeros(1)
    state["image_encoder.layers.1.blocks.0.attn.attention_bias_idxs"] = torch.zeros(1)
    tiny_sam.load_state_dict(state, strict=True)
    state["image_encoder.layers.9.weight"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"layers\.9\.weight"):
        tiny_sam.load_state_dict(state, strict=True)


def test_state_dict_survives_training_steps(tiny_sam):
    """One optimizer step after a prediction, save, load into another: same output, and another one than before."""
    import copy

    import torch

    from mobilesam.modeling import Sam

    before = encode(tiny_sam)
    other = Sam(tiny_sam.config)
    keys = set(tiny_sam.state_dict())
    tiny_sam.train()
    optimizer = torch.optim.SGD(tiny_sam.parameters(), lr=0.1)
    tiny_sam.image_encoder(torch.randn(2, 3, 64, 64)).square().mean().backward()
    optimizer.step()
    tiny_sam.eval()
    after = encode(tiny_sam)
    assert (after - before).abs().max() > 1e-3
    assert set(tiny_sam.state_dict()) == keys
    other.load_state_dict(copy.deepcopy(tiny_sam.state_dict()))
    torch.testing.assert_close(encode(other), after, rtol=0, atol=0)
