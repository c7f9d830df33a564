"""Exported files: what they are, what they refuse, and that they compute what the network does."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from mobilesam.errors import ExportError, InputError
from mobilesam.export.plan import Plan
from mobilesam.onnx import OnnxSam, contract
from tests.photos import photo

pytestmark = [pytest.mark.torch, pytest.mark.weights]

GRAPHS = (contract.ENCODER, contract.IMAGE, contract.SCORE, contract.UPSCALE, contract.decoder())


def run(model, feeds, outputs=None):
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(outputs, feeds)


def opset_of(path):
    ((domain, version),) = [(entry.domain, entry.version) for entry in onnx.load(path).opset_import]
    assert domain == ""
    return version


@pytest.mark.parametrize("graph", GRAPHS, ids=[graph.role for graph in GRAPHS])
def test_a_file_has_the_names_shapes_and_types_of_the_contract(exported, graph):
    model = onnx.load(exported / graph.file_name)
    onnx.checker.check_model(model, full_check=True)
    for values, expected in ((model.graph.input, graph.inputs), (model.graph.output, graph.outputs)):
        listed = []
        for value in values:
            tensor = value.type.tensor_type
            shape = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
            listed.append((value.name, shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name))
        assert listed == [tuple(value) for value in expected]


def test_nothing_of_the_training_or_of_this_machine_is_left(exported):
    for path in exported.glob("*.onnx"):
        model = onnx.load(path)
        operators = {node.op_type for node in model.graph.node}
        assert not operators & {"BatchNormalization", "Dropout", "Identity", "Constant"}, path
        content = path.read_bytes()
        assert b".py" not in content, path
        assert b"torch" not in content, path
        assert not model.graph.metadata_props, path
        assert all(entry.key.startswith("mobilesam.") for entry in model.metadata_props), path


def test_the_manifest_says_what_the_files_are(exported, sam):
    entries = {entry["file"]: entry for entry in json.loads((exported / "manifest.json").read_text())["files"]}
    assert set(entries) == {path.name for path in exported.glob("*.onnx")}
    encoder = entries["encoder.onnx"]
    assert encoder["size"] == (exported / "encoder.onnx").stat().st_size
    assert encoder["opset"] == 18
    assert encoder["inputs"] == [{"name": "input_image", "shape": ["batch", 3, 1024, 1024], "dtype": "float32"}]
    assert encoder["preprocessing"]["mean"] == [123.675, 116.28, 103.53]
    assert len({entry["weights_sha256"] for entry in entries.values()}) == 1
    assert entries["decoder.onnx"]["scores"] == "iou"


def test_exported_files_run_as_a_model(exported, sam):
    from mobilesam import SamPredictor

    ours, theirs = SamPredictor(OnnxSam.from_files(exported)), SamPredictor(sam)
    for predictor in (ours, theirs):
        predictor.set_image(photo("coffee"))
    for prompt in ({"point_coords": [[300, 200]], "point_labels": [1]}, {"box": [100, 50, 400, 300]}):
        actual, expected = ours.predict(**prompt), theirs.predict(**prompt)
        np.testing.assert_allclose(actual.low_res_logits, expected.low_res_logits, atol=1e-2, rtol=0)
        np.testing.assert_allclose(actual.iou_predictions, expected.iou_predictions, atol=1e-4, rtol=0)
        assert (actual.masks != expected.masks).sum(axis=(1, 2)).max() <= 2
    assert ours.mask_model.weights_id == theirs.mask_model.weights_id


@pytest.mark.parametrize(("preprocess", "opset"), [("float32", 17), ("uint8", 18)])
def test_an_encoder_that_preprocesses(sam, tmp_path, exported, preprocess, opset):
    from mobilesam import SamPredictor
    from mobilesam.export.exporter import export_onnx

    export_onnx(sam, tmp_path, Plan(parts=("encoder",), preprocess=preprocess, opset=opset))
    assert opset_of(tmp_path / "encoder.onnx") == opset
    assert onnx.load(tmp_path / "encoder.onnx").ir_version == (8 if opset == 17 else 10)
    shutil.copy(exported / "decoder.onnx", tmp_path)
    predictor = SamPredictor(OnnxSam.from_files(tmp_path))
    for name in ("chelsea", "coffee_portrait"):
        predictor.set_image(photo(name))
        expected = SamPredictor(sam)
        expected.set_image(photo(name))
        np.testing.assert_allclose(predictor.features, expected.features.numpy(), atol=1e-4, rtol=0)


def test_an_encoder_with_another_input_name(sam, tmp_path, exported):
    from mobilesam.export.exporter import export_onnx

    (written,) = export_onnx(sam, tmp_path, Plan(parts=("encoder",), input_name="x"))
    assert written.error < 1e-4
    assert [value.name for value in onnx.load(written.path).graph.input] == ["x"]
    shutil.copy(exported / "decoder.onnx", tmp_path)
    image = photo("coffee")
    features, expected = (OnnxSam.from_files(folder).encode(image).features for folder in (tmp_path, exported))
    np.testing.assert_array_equal(features, expected)
    with pytest.raises(InputError, match=r"input_name must not be that of another tensor of the graph, got image_emb"):
        export_onnx(sam, tmp_path, Plan(parts=("encoder",), input_name="image_embeddings"), force=True)


def test_an_encoder_of_any_size(sam, remade):
    import torch

    from mobilesam.onnx.bind import bind_weights

    assert Plan(parts=("encoder",), dynamic_size=True).graphs == [contract.ENCODER_DYNAMIC]
    state = {key: value.numpy() for key, value in sam.state_dict().items()}
    encoder = bind_weights(remade["encoder.onnx"], state, {}).SerializeToString()
    pixels = np.random.default_rng(0).standard_normal((2, 3, 336, 1008)).astype(np.float32)
    (features,) = run(encoder, {"input_image": pixels})
    with torch.no_grad():
        expected = sam.image_encoder(torch.from_numpy(pixels)).numpy()
    assert features.shape == (2, 256, 21, 63)
    np.testing.assert_allclose(features, expected, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def features(exported):
    return OnnxSam.from_files(exported).encode(photo("coffee")).features


def decoder_inputs(features, size):
    return {
        "image_embeddings": features,
        "point_coords": np.array([[[500, 300], [0, 0]]], np.float32),
        "point_labels": np.array([[1, -1]], np.float32),
        "mask_input": np.zeros((1, 1, 256, 256), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.array(size, np.float32),
    }


@pytest.mark.parametrize("size", [(600, 900), (900, 600), (512, 512), (200, 1800), (1501, 77)])
def test_one_decoder_serves_every_aspect_ratio(exported, sam, features, size):
    import torch

    from mobilesam.geometry import resized_hw

    masks, _, low_res = run(exported / "decoder.onnx", decoder_inputs(features, size))
    # In float64: both ONNX Runtime and PyTorch round where a pixel lies, which logits of 30 a pixel turn into 1e-3.
    expected = sam.postprocess_masks(torch.from_numpy(low_res).double(), resized_hw(size, 1024), size).numpy()
    assert masks.shape == (1, 4, *size)
    np.testing.assert_allclose(masks, expected, atol=1e-3, rtol=0)
    assert ((masks > 0) != (expected > 0)).sum() <= 2


def test_the_flags_of_the_reference_script(tmp_path, capsys, exported, features):
    from mobilesam import weights
    from mobilesam.export.__main__ import main

    output = tmp_path / "sam.onnx"
    flags = ["--checkpoint", str(weights.ensure()), "--model-type", "vit_t", "--output", str(output), "--opset", "17"]
    flags += ["--return-single-mask", "--use-stability-score", "--return-extra-metrics"]
    assert main(flags) == 0
    assert opset_of(output) == 17
    feeds = decoder_inputs(features, (300, 450))
    masks, scores, stability, areas, low_res = run(output, feeds)
    assert [array.shape for array in (masks, scores, stability, areas, low_res)] == [
        (1, 1, 300, 450),
        (1, 1),
        (1, 1),
        (1, 1),
        (1, 1, 256, 256),
    ]
    everything, _, all_low_res = run(exported / "decoder.onnx", feeds)
    of_each = (all_low_res > 1).sum(axis=(2, 3)) / (all_low_res > -1).sum(axis=(2, 3))
    best = 1 + int(of_each[0, 1:].argmax())  # two points, padding counted: not the single-mask output
    np.testing.assert_allclose(low_res, all_low_res[:, [best]], atol=1e-4)
    np.testing.assert_allclose(scores, of_each[:, [best]], atol=1e-3)
    assert abs(int(areas[0, 0]) - int((everything[0, best] > 0).sum())) <= 2
    full = everything[0, best]
    np.testing.assert_allclose(stability, (full > 1).sum() / (full > -1).sum(), atol=1e-3)
    assert main(flags) == 1
    assert "output file must not exist yet" in capsys.readouterr().err


def test_low_resolution_only_has_no_resizing(command, tmp_path, exported, features):
    out = tmp_path / "new" / "folder"
    result = command("export", "--out", out, "--parts", "decoder", "--low-res-only", "--opset", "23", "--json")
    assert result.code == 0, result.err
    (file,) = json.loads(result.out)["files"]
    path = out / "decoder.onnx"
    assert file["file"] == str(path)
    assert file["size"] == path.stat().st_size
    assert file["error"] < 1e-4
    assert opset_of(path) == 23
    assert "Resize" not in {node.op_type for node in onnx.load(path).graph.node}
    feeds = decoder_inputs(features, (300, 450))
    expected = run(exported / "decoder.onnx", feeds, ["low_res_masks"])[0]
    del feeds["orig_im_size"]
    np.testing.assert_allclose(run(path, feeds)[1], expected, atol=1e-4)


def test_a_model_in_training_mode_is_refused(tmp_path):
    from mobilesam.config import VARIANTS
    from mobilesam.export.exporter import export_onnx
    from mobilesam.modeling import Sam

    sam = Sam(VARIANTS["vit_t"])
    sam.mask_decoder.train()
    with pytest.raises(ExportError, match=r"model must be in eval mode to be exported, got training mode; call model"):
        export_onnx(sam, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unasked(sam, tmp_path):
    from mobilesam.export import export_onnx

    (tmp_path / "manifest.json").write_text("mine")
    with pytest.raises(InputError, match=r"output file must not exist yet, got .*manifest.json; .* --force"):
        export_onnx(sam, tmp_path, Plan(parts=("decoder",)))
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_folder_that_cannot_be_made_is_refused(command, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        result = command("export", "--out", out, "--parts", "decoder")
        assert result.code == 1
        message = f"out must be a folder that can be written, got {tmp_path / 'file'}; choose another --out"
        assert message in " ".join(result.err.split())
    assert (tmp_path / "file").read_text() == "mine"


def test_an_old_opset_writes_nothing(command, tmp_path):
    result = command("export", "--out", tmp_path / "out", "--opset", "16")
    assert result.code == 1
    assert "opset must be 17 to 23, got 16; use 18" in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 16}, "opset must be 17 to 23, got 16; use 18"),
        (
            {"parts": ("encodr",)},
            "part must be one of encoder, split_decoder, decoder, chooser, expectation, got 'encodr'; did you mean "
            "'encoder'?",
        ),
        ({"parts": ()}, "part must be one of encoder, split_decoder, decoder, chooser, expectation, got ''"),
        ({"preprocess": "float16"}, "preprocess must be one of none, float32, uint8, got 'float16'"),
        ({"preprocess": "uint8", "dynamic_size": True}, "dynamic_size must be False with preprocess, got uint8"),
        ({"input_name": "a b"}, "input_name must be a name, got 'a b'; use letters, digits and underscores"),
        (
            {"parts": ("decoder",), "input_name": "x"},
            "input_name must be given with the part encoder, got decoder; leave it out: it is the name of",
        ),
        ({"low_res_only": True, "return_extra_metrics": True}, "return_extra_metrics must be False with low_res_only"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(InputError) as caught:
        Plan(**options)
    assert message in str(caught.value)


def test_the_old_name_of_the_split_decoder_gives_a_warning():
    with pytest.warns(DeprecationWarning, match="The part 'steps' is now 'split_decoder'") as caught:
        plan = Plan(parts=("encoder", "steps"))
    assert caught[0].filename == __file__
    assert plan == Plan(parts=("encoder", "split_decoder"))
    assert [graph.role for graph in plan.graphs] == ["encoder", "image", "score", "upscale"]


def test_the_class_under_the_name_of_the_reference(sam, exported, features):
    import torch

    from mobilesam.utils.onnx import SamOnnxModel

    feeds = decoder_inputs(features, (200, 300))
    masks, scores, low_res = SamOnnxModel(sam, return_single_mask=False)(*map(torch.from_numpy, feeds.values()))
    expected = run(exported / "decoder.onnx", feeds)
    for actual, wanted in zip((masks, scores, low_res), expected, strict=True):
        np.testing.assert_allclose(actual.detach(), wanted, atol=2e-3)
    single = SamOnnxModel(sam, True, use_stability_score=True, return_extra_metrics=True)
    assert [tuple(each.shape) for each in single(*map(torch.from_numpy, feeds.values()))] == [
        (1, 1, 200, 300),
        (1, 1),
        (1, 1),
        (1, 1),
        (1, 1, 256, 256),
    ]


def test_that_class_under_the_older_exporter(sam, features, tmp_path):
    """With the arguments of SAM's export script, the size of the image and the number of points stay variable."""
    import torch

    from mobilesam.utils.onnx import SamOnnxModel

    model = SamOnnxModel(sam, return_single_mask=False)
    feeds = decoder_inputs(features, (200, 300))
    points = {"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about its age and about tracing
        torch.onnx.export(
            model,
            tuple(map(torch.from_numpy, feeds.values())),
            tmp_path / "decoder.onnx",
            opset_version=17,
            input_names=list(feeds),
            output_names=["masks", "iou_predictions", "low_res_masks"],
            dynamic_axes=points,
            dynamo=False,
        )
    for hw, count in (((200, 300), 1), ((451, 300), 3), ((1500, 2250), 2)):
        feeds = decoder_inputs(features, hw)
        feeds["point_coords"] = np.resize(feeds["point_coords"], (1, count, 2))
        feeds["point_labels"] = np.resize(feeds["point_labels"], (1, count))
        actual = run(tmp_path / "decoder.onnx", feeds)
        for ours, expected in zip(actual, model(*map(torch.from_numpy, feeds.values())), strict=True):
            assert ours.shape == tuple(expected.shape)
            np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_the_graphs_in_the_package_are_those_of_the_networks(remade):
    from mobilesam.export import templates

    assert sorted(remade) == sorted(path.name for path in templates.FOLDER.iterdir())
    for name, model in remade.items():
        packaged = onnx.load(templates.FOLDER / name)
        assert described(packaged) == described(model), f"{name}: run python -m mobilesam.export.templates"


def described(model):
    """Return a graph as text with numbers for intermediate values: releases of PyTorch name them differently."""
    ends = [*model.graph.input, *model.graph.output]
    names = {value.name: f"{value.name} {value.type}" for value in ends}
    names |= {
        tensor.name: f"{tensor.dims} {numpy_helper.to_array(tensor).tobytes()}" for tensor in model.graph.initializer
    }
    lines = [names[value.name] for value in ends]
    for node in model.graph.node:
        attributes = sorted(str(attribute) for attribute in node.attribute)
        inputs, outputs = (
            [names.setdefault(name, f"%{len(names)}") for name in side] for side in (node.input, node.output)
        )
        lines.append(f"{node.domain} {node.op_type} {inputs} -> {outputs} {attributes}")
    return lines
