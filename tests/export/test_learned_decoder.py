"""The decoder with the learned chooser inside: the mask of ``predict_one`` for a click, SAM's for other prompts."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import mobilesam
from mobilesam.errors import InputError
from mobilesam.export.plan import Plan
from mobilesam.onnx import OnnxSam
from mobilesam.prompts.arrays import Prompts, make_prompts
from tests.photos import photo

pytestmark = [pytest.mark.torch, pytest.mark.weights]

OPTIONS = {"parts": ("encoder", "decoder"), "return_single_mask": True, "select": "learned"}


@pytest.fixture(scope="module")
def folder(sam, tmp_path_factory) -> Path:
    from mobilesam.export import export_onnx

    out = tmp_path_factory.mktemp("learned")
    assert max(exported.error for exported in export_onnx(sam, out, Plan(**OPTIONS))) < 1e-4
    return out


@pytest.fixture(scope="module")
def decode(folder: Path):
    return runner(folder / "decoder.onnx")


def runner(path: Path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(embedding, prompts: Prompts) -> dict[str, np.ndarray]:
        mask_input = prompts.mask_input
        feeds = {
            "image_embeddings": embedding.features,
            "point_coords": prompts.point_coords,
            "point_labels": prompts.point_labels,
            "mask_input": np.zeros((1, 1, 256, 256), np.float32) if mask_input is None else mask_input,
            "has_mask_input": np.array([mask_input is not None], np.float32),
            "orig_im_size": np.array(embedding.original_hw, np.float32),
        }
        return dict(zip([each.name for each in session.get_outputs()], session.run(None, feeds), strict=True))

    return run


@pytest.mark.parametrize("name", ["coffee", "chelsea", "coffee_portrait", "coins"])
def test_a_click_has_the_mask_and_confidence_of_predict_one(decode, onnx_sam, name: str) -> None:
    predictor = mobilesam.SamPredictor(onnx_sam)
    predictor.set_image(photo(name))
    embedding = onnx_sam.encode(photo(name))
    hw, indices = embedding.original_hw, set()
    for point in np.random.default_rng(1).uniform((0, 0), hw[::-1], (8, 2)):
        prompts, _ = make_prompts([point], [1], original_hw=hw, input_hw=embedding.input_hw)
        expected, every = predictor.predict_one([point], [1]), onnx_sam.decode(embedding, prompts, range(4))
        actual = decode(embedding, prompts)
        np.testing.assert_allclose(actual["low_res_masks"][0], expected.low_res_logits, atol=1e-3, rtol=0)
        np.testing.assert_allclose(actual["iou_predictions"][0], expected.iou_predictions, atol=1e-4, rtol=0)
        np.testing.assert_allclose(actual["confidence"], expected.confidence, atol=1e-3, rtol=0)
        assert np.count_nonzero((actual["masks"][0] > 0) != expected.masks) <= 2
        distances = np.abs(every.low_res_logits[0] - actual["low_res_masks"][0]).max(axis=(1, 2))
        indices.add(int(distances.argmin()))
    assert len(indices) > 1


@pytest.mark.parametrize("kind", ["box", "two points", "background", "box and point", "mask"])
def test_other_prompts_have_the_mask_of_sams_exporter(decode, exported, onnx_sam, kind: str) -> None:
    embedding = onnx_sam.encode(photo("coffee"))
    sizes = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    prompt = {
        "box": {"box": [100, 50, 400, 300]},
        "two points": {"point_coords": [[300, 200], [150, 200]], "point_labels": [1, 0]},
        "background": {"point_coords": [[300, 200]], "point_labels": [0]},
        "box and point": {"point_coords": [[300, 200]], "point_labels": [1], "box": [100, 50, 400, 300]},
        "mask": {"point_coords": [[300, 200]], "point_labels": [1], "mask_input": np.ones((1, 256, 256))},
    }[kind]
    prompts, _ = make_prompts(**prompt, **sizes)
    four = runner(exported / "decoder.onnx")(embedding, prompts)
    best = 0 if prompts.point_coords.shape[1] > 2 else 1 + int(four["iou_predictions"][0, 1:].argmax())
    actual = decode(embedding, prompts)
    for name, values in four.items():
        np.testing.assert_allclose(actual[name], values[:, [best]], atol=2e-3, rtol=0)
    assert np.isnan(actual["confidence"]).all()


def test_the_file_says_so_and_is_a_model(folder: Path, sam) -> None:
    from mobilesam.export.quantize import quantize
    from mobilesam.export.verify import verify
    from mobilesam.modeling.torch_sam import TorchSam

    entries = {entry["role"]: entry for entry in json.loads((folder / "manifest.json").read_text())["files"]}
    assert entries["decoder"]["masks"] == "learned"
    assert entries["decoder"]["outputs"][-1] == {"name": "confidence", "shape": [1], "dtype": "float32"}
    ours, theirs = (mobilesam.SamPredictor(model) for model in (OnnxSam.from_files(folder), TorchSam(sam)))
    for predictor in (ours, theirs):
        predictor.set_image(photo("chelsea"))
    for point in ([230, 150], [100, 250]):
        masks = [predictor.predict_one([point], [1]).masks for predictor in (ours, theirs)]
        assert np.count_nonzero(masks[0] != masks[1]) <= 2
    assert all(row.passed for row in verify([folder / "decoder.onnx"], TorchSam(sam)))
    with pytest.raises(
        InputError, match=r"model must have no chooser in a graph to be quantized, got .*decoder.onnx; "
    ):
        quantize(folder, folder / "int8")


def test_an_older_opset_and_more_outputs(sam, tmp_path: Path) -> None:
    from mobilesam.export import export_onnx

    (written,) = export_onnx(
        sam, tmp_path, Plan(**OPTIONS | {"parts": ("decoder",)}, opset=17, return_extra_metrics=True)
    )
    assert written.error < 1e-3
    model = onnx.load(written.path)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    names = ["masks", "iou_predictions", "stability_scores", "areas", "low_res_masks", "confidence"]
    assert [value.name for value in model.graph.output] == names


def test_other_weights_have_no_chooser(sam, tmp_path: Path) -> None:
    import torch

    from mobilesam.export import export_onnx

    network = copy.deepcopy(sam)
    with torch.no_grad():
        network.mask_decoder.iou_token.weight += 0.5
    with pytest.raises(
        InputError, match="select must be reference for these weights, got learned; leave it out: it was "
    ):
        export_onnx(network, tmp_path, Plan(**OPTIONS))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": "score"}, "select must be one of reference, learned, got 'score'"),
        ({"return_single_mask": False}, "select must be reference without return_single_mask, got learned; add return"),
        ({"use_stability_score": True}, "select must be reference with use_stability_score, got learned; leave one of"),
        ({"low_res_only": True}, "select must be reference with low_res_only, got learned; leave select and return_"),
    ],
)
def test_options_that_do_not_go_together(options: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Plan(**OPTIONS | options)
    assert message in str(caught.value)
