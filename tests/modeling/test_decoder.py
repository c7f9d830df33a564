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


@pytest.mark.parametrize("masks", [False, True], ids=["no mask", "mask"])
@pytest.mark.parametrize("slots", [3, 5, 8])
def test_an_absent_point_changes_nothing(tiny_sam, slots, masks):
    import torch
    from torch.nn.functional import pad

    embedding, pe, sparse, dense = decoder_inputs(tiny_sam, 2, 1, masks)
    sparse_longer = torch.cat([sparse, 3 * torch.randn(2, slots - sparse.shape[1], sparse.shape[2])], dim=1)
    absent = pad(torch.zeros(sparse.shape[:2]), (0, slots - sparse.shape[1]), value=1)
    with torch.no_grad():
        expected, expected_ious = tiny_sam.mask_decoder.predict_masks(embedding, pe, sparse, dense)
        actual, ious = tiny_sam.mask_decoder.predict_masks(embedding, pe, sparse_longer, dense, absent)
        counted, _ = tiny_sam.mask_decoder.predict_masks(embedding, pe, sparse_longer, dense)
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(ious, expected_ious, rtol=0, atol=1e-5)
    assert (counted - expected).abs().max() > 1e-3 * scale


def test_a_point_of_an_unknown_label_has_the_embedding_of_its_position(tiny_sam):
    """As in SAM, where each kind of point adds its embedding by a comparison."""
    import torch

    coords = torch.tensor([[[100.5, 20.25], [3.0, 127.0], [7.0, 9.0]]])
    encoder = tiny_sam.prompt_encoder
    embedded = encoder.embed_points(coords, torch.tensor([[5, 3, -1]]))
    positions = encoder.pe_layer.forward_with_coords(coords + 0.5, (128, 128))
    torch.testing.assert_close(embedded[0, 0], positions[0, 0], rtol=0, atol=0)
    torch.testing.assert_close(embedded[0, 1], positions[0, 1] + encoder.point_embeddings[3].weight[0])
    torch.testing.assert_close(embedded[0, 2], encoder.not_a_point_embed.weight[0], rtol=0, atol=0)
