"""SAM's larger networks: the results and the tensors of PyPI's segment-anything 1.0, on random weights."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import mobilesam
from mobilesam import SamPredictor
from mobilesam.config import VARIANTS, SamConfig, VitConfig
from mobilesam.errors import CheckpointError, InputError
from mobilesam.weights import checkpoint, state_dict
from tests.photos import photo

pytestmark = pytest.mark.torch
SIZES = ("vit_b", "vit_l", "vit_h")


@pytest.fixture(scope="module")
def theirs(reference: Path):
    """The package's networks, without its predictor, which needs torchvision."""
    package = types.ModuleType("segment_anything")
    package.__path__ = [str(reference / "segment_anything")]
    sys.modules["segment_anything"] = package
    yield importlib.import_module("segment_anything.build_sam")
    for name in [name for name in sys.modules if name.partition(".")[0] == "segment_anything"]:
        del sys.modules[name]


def with_random_positions(network):
    """Return a network whose position embeddings are random, which are zeros before training."""
    import torch

    torch.manual_seed(0)
    for name, value in network.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(value, std=0.3)
    return network


@pytest.fixture(scope="module")
def narrow():
    """A network with the grid and the windows of the real ones, and few channels."""
    from mobilesam.modeling import Sam

    encoder = VitConfig(embed_dim=48, depth=3, num_heads=3, global_blocks=(1,))
    return with_random_positions(Sam(SamConfig(name="vit_b", encoder=encoder)))


def test_the_image_encoder_of_vit_b(theirs):
    import torch

    reference = with_random_positions(theirs.build_sam_vit_b())
    network = mobilesam.modeling.Sam(VARIANTS["vit_b"])
    network.load_state_dict(reference.state_dict(), strict=True)
    reference.load_state_dict(network.state_dict(), strict=True)
    pixels = torch.randn(1, 3, 1024, 1024)
    with torch.no_grad():
        ours, expected = network.image_encoder(pixels), reference.image_encoder(pixels)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_masks_of_a_network_with_few_channels(theirs, narrow):
    """The whole network, with prompts of each kind."""
    import torch

    encoder = sys.modules["segment_anything.modeling.image_encoder"].ImageEncoderViT(
        **{"depth": 3, "embed_dim": 48, "num_heads": 3, "global_attn_indexes": (1,), "window_size": 14},
        **{"use_rel_pos": True, "norm_layer": lambda dim: torch.nn.LayerNorm(dim, eps=1e-6)},
    )
    reference = theirs.build_sam_vit_b()
    reference.image_encoder = encoder
    reference.load_state_dict(narrow.state_dict(), strict=True)
    image = {"image": torch.rand(3, 768, 1024) * 255, "original_size": (300, 400)}
    image["point_coords"], image["point_labels"] = torch.rand(2, 3, 2) * 700, torch.tensor([[1, 0, 1]] * 2)
    image["boxes"] = torch.tensor([[10.0, 20, 300, 400], [0, 0, 1000, 700]])
    (ours,), (expected,) = narrow([image], True), reference.eval()([image], multimask_output=True)
    for name in ("iou_predictions", "low_res_logits"):
        np.testing.assert_allclose(ours[name], expected[name], rtol=0, atol=1e-5 * float(expected[name].abs().max()))
    assert (ours["masks"] != expected["masks"]).sum() <= 4


@pytest.mark.parametrize("size", SIZES)
def test_the_tensors_are_those_of_the_package(theirs, size):
    import torch

    with torch.device("meta"):
        networks = theirs.sam_model_registry[size](), mobilesam.modeling.Sam(VARIANTS[size])
    theirs_shapes, own_shapes = ({key: value.shape for key, value in each.state_dict().items()} for each in networks)
    assert own_shapes == theirs_shapes
    assert dict(state_dict.shapes(size)) == theirs_shapes


@pytest.fixture(scope="module")
def vit_b(tmp_path_factory):
    """A file of random weights, as SAM and MedSAM publish theirs, and the network."""
    import torch

    with pytest.warns(UserWarning, match="without a checkpoint"):
        network = with_random_positions(mobilesam.build_sam_vit_b())
    path = tmp_path_factory.mktemp("vit") / "sam_vit_b.pth"
    torch.save(network.state_dict(), path)
    return path, network


def test_a_checkpoint_of_vit_b_runs_on_pytorch(vit_b):
    path, network = vit_b
    model = mobilesam.load(path)
    assert type(model).__name__ == "TorchSam"
    assert model.weights_id == SamPredictor(network).mask_model.weights_id
    with pytest.raises(InputError, match="fast_padding must be False for this network, got True for vit_b"):
        SamPredictor(model, fast_padding=True).set_image(photo("coffee_portrait"))
    with pytest.raises(InputError, match="checkpoint must be one of vit_t for the backend onnx, got a SAM checkpoint"):
        mobilesam.load(path, backend="onnx")
    with pytest.raises(CheckpointError, match=r"build it with sam_model_registry\['vit_b'\]"):
        mobilesam.sam_model_registry["vit_t"](path)
    with pytest.raises(InputError, match="model must be the file of a checkpoint of vit_l, got its name"):
        mobilesam.load("vit_l")


def test_checkpoints_of_micro_sam(vit_b, tmp_path):
    """Its training writes the network below a prefix, and a decoder of its own, which is left out."""
    import torch

    _, network = vit_b
    state = {f"sam.{key}": value for key, value in network.state_dict().items()}
    torch.save({"model_state": state, "decoder_state": {"out_conv.weight": torch.zeros(3)}}, tmp_path / "best.pt")
    with pytest.warns(UserWarning, match="best.pt also contains a decoder for instance segmentation"):
        content = checkpoint.read(tmp_path / "best.pt")
    assert content.variant == "vit_b"
    assert content.weights_id == SamPredictor(network).mask_model.weights_id


def test_a_checkpoint_of_the_training_of_medsam(vit_b, tmp_path):
    """Its training writes the keys of SAM with the optimizer, and with the prefix of a wrapper."""
    import torch

    _, network = vit_b
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]}
    for prefix in ("", "module."):
        state = {f"{prefix}{key}": value for key, value in network.state_dict().items()}
        torch.save({"model": state, "optimizer": optimizer, "epoch": 3}, tmp_path / "medsam_model_latest.pth")
        content = checkpoint.read(tmp_path / "medsam_model_latest.pth")
        assert content.variant == "vit_b"
        assert content.weights_id == SamPredictor(network).mask_model.weights_id


def test_it_is_exported_and_runs_without_torch(narrow, tmp_path, monkeypatch):
    from mobilesam.export import Plan, export_onnx, manifest
    from mobilesam.export.quantize import quantize

    monkeypatch.setattr(manifest, "_MAX_BYTES", 1 << 18)  # so that the weights are in files of their own
    export_onnx(narrow, tmp_path, Plan(parts=("encoder", "split_decoder")))
    assert (tmp_path / "encoder.onnx.data").stat().st_size > (tmp_path / "encoder.onnx").stat().st_size
    predictors = SamPredictor(mobilesam.load(tmp_path)), SamPredictor(narrow)
    for predictor in predictors:
        predictor.set_image(photo("chelsea"))
    ours, expected = (predictor.predict([[200, 100]], [1]) for predictor in predictors)
    np.testing.assert_allclose(ours.low_res_logits, expected.low_res_logits, atol=1e-4)
    with pytest.raises(InputError, match=r"model must be an export of vit_t, got one of vit_b"):
        quantize(tmp_path, tmp_path / "int8")
    with pytest.raises(InputError, match="dynamic_size must be False for this network, got True for vit_b"):
        export_onnx(narrow, tmp_path / "dynamic", Plan(dynamic_size=True))
