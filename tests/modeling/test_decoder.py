"""The fast decoder against the plain formulation."""

from __future__ import annotations

import pytest

from tests.modeling import plain_decoder

pytestmark = pytest.mark.torch


def decoder_inputs(sam, batch, points, masks=False):
    import torch

    torch.manual_seed(3)
    grid, size = sam.config.grid_size, sam.config.image_size
    embedding = torch.randn(1, sam.config.embed_dim, grid, grid)
    coords = torch.rand(batch, points, 2) * size
    labels = torch.randint(-1, 2, (batch, points))
    mask_input = torch.randn(batch, 1, 4 * grid, 4 * grid) if masks else None
    with torch.no_grad():
        sparse, dense = sam.prompt_encoder((coords, labels), None, mask_input)
        return embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense


@pytest.mark.parametrize("masks", [False, True], ids=["no mask", "mask"])
@pytest.mark.parametrize(("batch", "points"), [(1, 1), (3, 2), (2, 10), (1, 30)])
def test_equals_the_plain_formulation(tiny_sam, batch, points, masks):
    import torch

    inputs = decoder_inputs(tiny_sam, batch, points, masks)
    with torch.no_grad():
        expected_masks, expected_ious = plain_decoder.predict_masks(tiny_sam.mask_decoder, *inputs)
        masks_found, ious = tiny_sam.mask_decoder.predict_masks(*inputs)
    assert expected_masks.std() > 1e-3
    scale = expected_masks.abs().max().item()
    torch.testing.assert_close(masks_found, expected_masks, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(ious, expected_ious, rtol=1e-4, atol=1e-5)


@pytest.mark.weights
@pytest.mark.parametrize("points", [1, 10, 30])
def test_equals_the_plain_formulation_with_the_real_weights(sam, points):
    import torch

    inputs = decoder_inputs(sam, 2, points)
    inputs = (inputs[0] * 0.1, *inputs[1:])  # the scale of real embeddings
    with torch.no_grad():
        expected_masks, expected_ious = plain_decoder.predict_masks(sam.mask_decoder, *inputs)
        masks_found, ious = sam.mask_decoder.predict_masks(*inputs)
    scale = expected_masks.abs().max().item()
    torch.testing.assert_close(masks_found, expected_masks, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(ious, expected_ious, rtol=0, atol=1e-5)


def test_gradients_reach_every_parameter(tiny_sam):
    inputs = decoder_inputs(tiny_sam, 2, 2)
    masks, ious = tiny_sam.mask_decoder.predict_masks(*inputs)
    (masks.square().mean() + ious.square().mean()).backward()
    without = {name for name, value in tiny_sam.mask_decoder.named_parameters() if value.grad is None}
    # Softmax over the image drops what a key's bias adds to every score alike.
    assert without == {"transformer.layers.1.cross_attn_token_to_image.k_proj.bias"} | {
        "transformer.final_attn_token_to_image.k_proj.bias"
    }


def test_prompts_in_a_batch_do_not_mix(tiny_sam):
    import torch

    embedding, pe, sparse, dense = decoder_inputs(tiny_sam, 3, 2)
    with torch.no_grad():
        together, _ = tiny_sam.mask_decoder.predict_masks(embedding, pe, sparse, dense)
        alone = [tiny_sam.mask_decoder.predict_masks(embedding, pe, sparse[i : i + 1], dense[:1])[0] for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_position_encoding_is_float32_arithmetic_in_half(tiny_sam):
    import torch

    coords = torch.tensor([[[100.5, 20.25], [3.0, 127.0]]])
    expected = tiny_sam.prompt_encoder.pe_layer.forward_with_coords(coords, (128, 128))
    half = tiny_sam.half().prompt_encoder.pe_layer.forward_with_coords(coords, (128, 128))
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), expected, rtol=0, atol=0.02)
