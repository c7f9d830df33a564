"""The model repository of Triton Inference Server: its configurations, by Triton's own definition and the graphs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from mobilesam.errors import InputError
from mobilesam.export import triton
from mobilesam.export.plan import Plan
from mobilesam.onnx import contract
from tests.export.test_packs import graphs_made_once

DEFAULT = {"encoder": 8, "image": 0, "score": 0, "upscale": 64, "decoder": 0}
PLANS = {
    "default": (Plan(), DEFAULT),
    "pixels": (
        Plan(
            parts=("encoder", "decoder", "chooser", "expectation"),
            preprocess="uint8",
            input_name="pixels",
            return_single_mask=True,
            low_res_only=True,
        ),
        {"encoder": 0, "decoder": 0, "chooser": 0, "expectation": 0},
    ),
    "any size": (Plan(parts=("encoder",), dynamic_size=True), {"encoder": 8}),
}
ONNX_TYPES = {"TYPE_FP32": "tensor(float)", "TYPE_UINT8": "tensor(uint8)", "TYPE_INT64": "tensor(int64)"}
READ = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
read = [text_format.Parse(open(path).read(), ModelConfig()) for path in sys.argv[1:]]
print(json.dumps([json_format.MessageToDict(config, **options) for config in read]))
"""


@pytest.fixture(scope="session")
def read_configs(tmp_path_factory):
    """A function that reads files by Triton's definition of them.

    The client of Triton requires an older protobuf than onnx, so it is not installed beside it.
    """
    folder = tmp_path_factory.mktemp("tritonclient")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    subprocess.run([*pip, "tritonclient==2.73.0", "grpcio", "python-rapidjson", "urllib3"], check=True)

    def read(paths):
        command = [sys.executable, "-W", "ignore", "-c", READ, *map(str, paths)]
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)

    return read


@pytest.fixture(scope="module")
def repository(sam, tmp_path_factory):
    """A function that returns the repository of a plan of PLANS, written once."""
    from mobilesam.export import export_pack

    folders, made = {}, {}

    def folder_of(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("models")
            with graphs_made_once(made):
                exported = export_pack(sam, folders[name], "triton", PLANS[name][0])
            assert all(error < 1e-4 for _, error in exported)
        return folders[name]

    return folder_of


def session_of(folder, role):
    path = folder / f"mobilesam_{role}" / "1" / "model.onnx"
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def declared(config, key):
    """Return what a configuration says the graph has: names, types and shapes, those of batches included."""
    batch = [-1] if config["max_batch_size"] else []
    return [
        (each["name"], ONNX_TYPES[each["data_type"]], batch + [int(dim) for dim in each.get("reshape", each)[shape]])
        for each in config[key]
        for shape in ["shape" if "reshape" in each else "dims"]
    ]


def real(values):
    return [(each.name, each.type, [dim if isinstance(dim, int) else -1 for dim in each.shape]) for each in values]


@pytest.mark.torch
@pytest.mark.weights
@pytest.mark.parametrize("plan", PLANS)
def test_the_configurations_are_those_of_the_graphs(repository, read_configs, plan):
    folder, batches = repository(plan), PLANS[plan][1]
    configs = read_configs(folder / f"mobilesam_{role}" / "config.pbtxt" for role in batches)
    for role, config in zip(batches, configs, strict=True):
        session = session_of(folder, role)
        assert config["name"] == f"mobilesam_{role}"
        assert config["backend"] == "onnxruntime"
        assert config["max_batch_size"] == batches[role]
        assert ("dynamic_batching" in config) == bool(batches[role])
        assert declared(config, "input") == real(session.get_inputs())
        assert declared(config, "output") == real(session.get_outputs())
        (group,) = config["instance_group"]
        kind = "KIND_CPU" if role in ("chooser", "expectation") else "KIND_AUTO"
        assert (group["kind"], group["count"]) == (kind, 1)
        assert config["parameters"] == {"intra_op_thread_count": {"string_value": "0"}}


@pytest.mark.torch
@pytest.mark.weights
def test_the_files_of_a_repository(repository):
    folder = repository("default")
    roles = [*DEFAULT, "split_decoder"]
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "manifest.json",
        *(f"mobilesam_{role}" for role in roles),
    }
    for role in roles:
        models = [path.name for path in (folder / f"mobilesam_{role}" / "1").iterdir()]
        assert models == ([".gitkeep"] if role == "split_decoder" else ["model.onnx"])
    listed = {entry["file"]: entry["role"] for entry in json.loads((folder / "manifest.json").read_text())["files"]}
    assert listed == {f"mobilesam_{role}/1/model.onnx": role for role in DEFAULT}
    assert "$" not in (folder / "README.md").read_text()
    assert not (repository("pixels") / "mobilesam_split_decoder").exists()


@pytest.mark.torch
@pytest.mark.weights
def test_the_ensemble_passes_on_what_its_steps_take(repository, read_configs):
    folder = repository("default")
    names = ["split_decoder", "image", "score", "upscale"]
    ensemble, *steps = read_configs(folder / f"mobilesam_{name}" / "config.pbtxt" for name in names)
    assert (ensemble["platform"], ensemble["max_batch_size"]) == ("ensemble", 0)

    def dims(config, key):
        """Return the sizes of tensors in requests and responses, by name."""
        batch = ["-1"] if config["max_batch_size"] else []
        return {each["name"]: batch + each["dims"] for each in config[key]}

    known = dims(ensemble, "input")
    for step, config in zip(ensemble["ensemble_scheduling"]["step"], steps, strict=True):
        assert step["model_name"] == config["name"]
        assert all(key == value for key, value in (step["input_map"] | step["output_map"]).items())
        assert step["output_map"].keys() == dims(config, "output").keys()
        given = {name: known[name] for name in step["input_map"]}
        wanted = dims(config, "input")
        assert given.keys() == wanted.keys()
        for name, sizes in wanted.items():
            assert len(sizes) == len(given[name])
            assert all("-1" in pair or len(set(pair)) == 1 for pair in zip(sizes, given[name], strict=True)), name
        known |= dims(config, "output")
    assert dims(ensemble, "output") == {name: known[name] for name in ("iou_predictions", "low_res_logits")}


@pytest.mark.torch
@pytest.mark.weights
def test_what_has_batches_gives_in_them_what_it_gives_alone(repository):
    random = np.random.default_rng(0)
    sizes = {"encoder": {"input_image": (3, 1024, 1024)}, "upscale": {"kernels": (4, 32), "image_tokens": (8, 6, 256)}}
    for role, inputs in sizes.items():
        session = session_of(repository("default"), role)
        feeds = {name: random.random((2, *shape), np.float32) - 0.5 for name, shape in inputs.items()}
        (together,) = session.run(None, feeds)
        for row in range(2):
            (alone,) = session.run(None, {name: array[row : row + 1] for name, array in feeds.items()})
            np.testing.assert_allclose(together[row], alone[0], atol=1e-4, rtol=0)


@pytest.mark.torch
@pytest.mark.weights
@pytest.mark.parametrize("role", ["image", "score", "decoder"])
def test_what_has_no_batches_refuses_two_requests_in_one(repository, role):
    session = session_of(repository("default"), role)
    feeds = {
        value.name: np.zeros([dim if isinstance(dim, int) else 1 for dim in value.shape], np.float32)
        for value in session.get_inputs()
    }
    if "orig_im_size" in feeds:
        feeds["orig_im_size"][:] = 64
    session.run(None, feeds)
    twice = {name: np.concatenate([array, array]) for name, array in feeds.items()}
    with pytest.raises(Exception, match="Got invalid dimensions for input"):
        session.run(None, twice)


def test_every_other_graph_without_batches():
    graphs = [*contract.LEARNED, contract.ENCODER_HWC, contract.ENCODER_HWC_UINT8]
    graphs += [contract.decoder(extra_metrics=True), contract.decoder(return_single_mask=True, confidence=True)]
    assert [triton.max_batch_size(graph) for graph in graphs] == [0] * len(graphs)


def test_models_are_named_after_their_network():
    (path, config), *_ = triton.configurations("sam_vit_h", [contract.ENCODER])
    assert path == "sam_vit_h_encoder/config.pbtxt"
    assert b'name: "sam_vit_h_encoder"' in config


@pytest.mark.torch
@pytest.mark.weights
def test_the_command(command, tmp_path):
    arguments = ("export", "--for", "triton", "--out", tmp_path / "models", "--parts", "expectation")
    result = command(*arguments)
    assert result.code == 0, result.err
    assert result.out.strip() == str(tmp_path / "models" / "mobilesam_expectation" / "1" / "model.onnx")
    assert result.err.startswith("mobilesam_expectation/1/model.onnx: ")
    again = command(*arguments)
    assert again.code == 1
    assert "output file must not exist yet, got" in again.err
    assert command(*arguments, "--force").code == 0


@pytest.mark.torch
@pytest.mark.weights
def test_other_files_of_a_repository_are_not_overwritten(sam, tmp_path):
    from mobilesam.export import export_pack

    config = tmp_path / "mobilesam_decoder" / "config.pbtxt"
    config.parent.mkdir()
    config.write_text("mine")
    with pytest.raises(InputError, match=r"output file must not exist yet, got .*config.pbtxt; .* --force"):
        export_pack(sam, tmp_path, "triton")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [config]


@pytest.mark.torch
@pytest.mark.weights
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parts", "encoder,mask"], "got 'mask'"),
        (["--preprocess", "uint8", "--dynamic-size"], "dynamic_size must be False with preprocess, got uint8"),
        (["--select", "learned"], "select must be reference without return_single_mask, got learned"),
    ],
)
def test_options_that_no_export_accepts(command, tmp_path, options, message):
    result = command("export", "--for", "triton", "--out", tmp_path / "models", *options)
    assert result.code == 1
    assert message in " ".join(result.err.split())
    assert not (tmp_path / "models").exists()


@pytest.mark.torch
@pytest.mark.weights
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("quantized", "model must be a checkpoint for backend 'torch', got an ONNX export"),
        ("other.onnx", "model must be a checkpoint for backend 'torch', got an ONNX export"),
        ("models", "must be a checkpoint of MobileSAM or SAM (.pt, .safetensors, or the folder of an ONNX pair), got"),
    ],
)
def test_what_is_not_a_checkpoint_is_not_exported(command, repository, tmp_path, model, message):
    from onnxruntime.quantization import quantize_dynamic

    (tmp_path / "quantized").mkdir()
    for role in ("encoder", "decoder") if model == "quantized" else ():
        source = repository("default") / f"mobilesam_{role}" / "1" / "model.onnx"
        quantize_dynamic(source, tmp_path / "quantized" / f"{role}.onnx")
    relu = '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }'
    onnx.save(onnx.parser.parse_model(relu), tmp_path / "other.onnx")
    path = repository("default") if model == "models" else tmp_path / model
    result = command("export", "--for", "triton", "--model", path, "--out", tmp_path / "out")
    assert result.code == 1
    assert message in " ".join(result.err.split())
    assert not (tmp_path / "out").exists()
