"""Checkpoint files in every layout, and every kind of file that is not one."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mobilesam.errors import CheckpointError, InputError, MissingDependencyError
from mobilesam.weights import checkpoint, state_dict, tensor_files
from mobilesam.weights.checkpoint import Checkpoint
from mobilesam.weights.state_dict import StateDict
from mobilesam.weights.store import Store

KEY = "mask_decoder.mask_tokens.weight"
REMEDY = '; give a checkpoint of MobileSAM or SAM, or run "mobilesam weights fetch" to get one'


@pytest.fixture(scope="session")
def state() -> StateDict:
    """Random tensors under the official keys; what is in them does not matter here."""
    random = np.random.default_rng(0)
    return {
        key: np.array(3) if key.endswith("num_batches_tracked") else random.random(shape, dtype=np.float32)
        for key, shape in state_dict.used_shapes().items()
    }


@pytest.fixture(scope="session")
def safe(state: StateDict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "a.safetensors"
    checkpoint.write(path, state)
    return path


@pytest.fixture(scope="session")
def tensors(state: StateDict) -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    return {key: torch.from_numpy(value) for key, value in state_dict.complete(state).items()}


def save(content: object, path: Path, **options: Any) -> Path:
    import torch

    torch.save(content, path, **options)
    return path


def assert_same(read: Checkpoint, state: StateDict) -> None:
    assert list(read.state) == list(state_dict.used_shapes())
    for key, value in read.state.items():
        np.testing.assert_array_equal(value, state[key])
        assert value.dtype == (np.int64 if key.endswith("num_batches_tracked") else np.float32)


def refusal(path: Path) -> str:
    """Return what the reader says the file is."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read(path)
    text = str(caught.value)
    expected = (
        f"{path} must be a checkpoint of MobileSAM or SAM (.pt, .safetensors, or the folder of an ONNX pair), got "
    )
    assert text.startswith(expected)
    return text.removeprefix(expected)


# Files that are read.


def test_safetensors_round_trip(safe: Path, state: StateDict) -> None:
    read = checkpoint.read(safe)
    assert_same(read, state)
    assert read.description == f"a MobileSAM checkpoint ({safe})"


@pytest.mark.torch
@pytest.mark.parametrize(
    "wrap",
    [
        OrderedDict,
        lambda tensors: {"model": tensors, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda tensors: {"state_dict": tensors},
        lambda tensors: {"model": {"state_dict": tensors}},
        lambda tensors: {f"module.{key}": value for key, value in tensors.items()},
        lambda tensors: {"state_dict": {f"model.{key}": value for key, value in tensors.items()}},
        lambda tensors: {key: value for key, value in tensors.items() if "head." not in key or "mask" in key},
        # The index tables of the biases, which TinySAM's network and older ones have as buffers.
        lambda tensors: (
            tensors
            | {
                key.replace("attention_biases", "attention_bias_idxs"): value
                for key, value in tensors.items()
                if key.endswith("attention_biases")
            }
        ),
    ],
)
def test_every_wrapping_of_the_official_file(
    tmp_path: Path, tensors: dict[str, Any], state: StateDict, wrap: Callable[[dict[str, Any]], Any]
) -> None:
    assert_same(checkpoint.read(save(wrap(tensors), tmp_path / "a.pt")), state)


@pytest.mark.torch
def test_the_older_format_of_torch(tmp_path: Path, tensors: dict[str, Any], state: StateDict) -> None:
    path = save(tensors, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert_same(checkpoint.read(path), state)


@pytest.mark.torch
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float64"])
def test_other_precisions_become_float32(tmp_path: Path, tensors: dict[str, Any], precision: str, suffix: str) -> None:
    import torch
    from safetensors.torch import save_file

    kind = getattr(torch, precision)
    cast = {key: value.to(kind) if value.is_floating_point() else value for key, value in tensors.items()}
    path = tmp_path / f"a{suffix}"
    save(cast, path) if suffix == ".pt" else save_file(cast, path)
    assert_same(checkpoint.read(path), {key: value.to(tensors[key].dtype).numpy() for key, value in cast.items()})


@pytest.mark.torch
def test_the_content_decides_and_not_the_suffix(tmp_path: Path, safe: Path, tensors: dict[str, Any]) -> None:
    misnamed = tmp_path / "a.pt"
    misnamed.write_bytes(safe.read_bytes())
    other = save(tensors, tmp_path / "a.safetensors")
    assert checkpoint.read(misnamed).weights_id == checkpoint.read(other).weights_id == checkpoint.read(safe).weights_id


@pytest.mark.parametrize("length", range(0, 300, 8))
def test_the_length_of_a_safetensors_header_is_not_taken_for_a_format(tmp_path: Path, length: int) -> None:
    tensor_files.write_safetensors(tmp_path / "a", {"x" * length: np.zeros(1, np.float32)})
    assert refusal(tmp_path / "a").startswith("1 tensors of an unknown network")


@pytest.mark.weights
def test_an_onnx_pair_by_folder_or_by_files(pair: tuple[Path, Path]) -> None:
    encoder, decoder = pair
    read = checkpoint.read(encoder.parent)
    assert read.description == f"a MobileSAM ONNX pair ({encoder} and {decoder})"
    assert read.weights_id == checkpoint.read([decoder, encoder]).weights_id
    assert read.weights_id == "9a5a019839ebed3c3ed9a6f15da9d3499caa4f3cf837acd27fd957ea94a36555"


# What is written.


@pytest.mark.torch
def test_a_written_file_has_every_official_key(tmp_path: Path, state: StateDict) -> None:
    import torch

    checkpoint.write(tmp_path / "a.pt", state)
    written = torch.load(tmp_path / "a.pt", weights_only=True)
    assert {key: tuple(value.shape) for key, value in written.items()} == state_dict.shapes()
    assert not written["image_encoder.head.weight"].any()
    assert_same(checkpoint.read(tmp_path / "a.pt"), state)


def test_equal_tensors_give_equal_bytes_that_the_library_reads(tmp_path: Path, safe: Path, state: StateDict) -> None:
    from safetensors.numpy import load_file

    path = tmp_path / "b.safetensors"
    checkpoint.write(path, dict(reversed(state.items())))
    assert path.read_bytes() == safe.read_bytes()
    loaded = load_file(path)
    assert all(np.array_equal(loaded[key], value) for key, value in state.items())


def test_a_classifier_in_the_state_is_kept(tmp_path: Path, state: StateDict) -> None:
    head = np.full((1000, 320), 7, np.float32)
    checkpoint.write(tmp_path / "a.safetensors", state | {"image_encoder.head.weight": head})
    written = tensor_files.read_safetensors(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(written["image_encoder.head.weight"], head)


def test_writing_refuses_what_it_cannot_do(tmp_path: Path, safe: Path, state: StateDict) -> None:
    with pytest.raises(InputError, match=r"checkpoint file must end in one of .pt, .pth, .safetensors, got a.bin; ren"):
        checkpoint.write(tmp_path / "a.bin", state)
    with pytest.raises(InputError, match=rf"output file must not exist yet, got {safe}"):
        checkpoint.write(safe, state, force=False)
    with pytest.raises(
        CheckpointError, match=r"state must contain the tensors of MobileSAM, got 434 missing \(image_encoder"
    ):
        checkpoint.write(tmp_path / "a.safetensors", {KEY: state[KEY]})
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"output folder must be writable, got .*file \("):
        checkpoint.write(tmp_path / "file" / "a.safetensors", state)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.torch
def test_writing_pt_without_torch(tmp_path: Path, state: StateDict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r'writing a .pt file needs torch, .* pip install "torch>='):
        checkpoint.write(tmp_path / "a.pt", state)


# Identity.


def test_the_identity_is_that_of_the_numbers(state: StateDict) -> None:
    identity = Checkpoint(state, "").weights_id
    assert re.fullmatch("[0-9a-f]{64}", identity)
    assert Checkpoint(dict(reversed(state.items())), "").weights_id == identity
    assert Checkpoint(state_dict.complete(state), "").weights_id == identity
    changed = state[KEY].copy()
    changed.flat[0] += 1
    assert Checkpoint(state | {KEY: changed}, "").weights_id != identity


@pytest.mark.torch
def test_a_network_has_the_identity_of_its_checkpoint(safe: Path) -> None:
    from mobilesam.config import VARIANTS
    from mobilesam.modeling import Sam

    read = checkpoint.read(safe)
    sam = Sam(VARIANTS["vit_t"])
    checkpoint.load_into(sam, read)
    own = {key: value.numpy() for key, value in sam.state_dict().items()}
    assert checkpoint.state_digest(own) == read.weights_id


@pytest.mark.torch
def test_loading_into_a_network_of_another_shape_names_the_difference(safe: Path) -> None:
    import torch

    read = checkpoint.read(safe)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_into(torch.nn.Linear(2, 3), read)
    assert str(caught.value) == (
        f"checkpoint must match Linear, got a MobileSAM checkpoint ({safe}): 2 missing (weight, bias), 435 unexpected "
        f"({', '.join(list(state_dict.used_shapes())[:5])} ...){REMEDY}"
    )


# Files that are refused.


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return open, (str(self.proof), "w")


def pickled(path: Path, content: object, layout: str) -> Path:
    """Write a pickle bare, or where torch puts it in either of its formats."""
    if layout == "bare":
        path.write_bytes(pickle.dumps(content, protocol=2))
    elif layout == "protocol 4":
        path.write_bytes(pickle.dumps(content, protocol=4))
    else:
        save(content, path, _use_new_zipfile_serialization=layout == "zip")
    return path


@pytest.mark.torch
@pytest.mark.parametrize("layout", ["zip", "legacy", "bare", "protocol 4"])
def test_a_pickle_with_code_is_refused_and_nothing_runs(tmp_path: Path, layout: str) -> None:
    proof = tmp_path / "proof"
    path = pickled(tmp_path / "a.pt", {KEY: Evil(proof)}, layout)
    assert refusal(path) == f"a pickle that names {open.__module__}.open, which could run code{REMEDY}"
    assert not proof.exists()
    with path.open("rb") as file:  # the file is what it claims to be: a careless reader runs it
        if layout == "bare":
            pickle.load(file)[KEY].close()
            assert proof.exists()


@pytest.mark.torch
@pytest.mark.parametrize(
    ("content", "is_a"),
    [
        (["a", "b"], "a pickled list without tensors"),
        ({}, "a pickled dict without tensors"),
        ({"epoch": 3}, "a pickled dict whose 'epoch' is a int, not a tensor"),
    ],
)
def test_a_pickle_of_something_else(tmp_path: Path, content: object, is_a: str) -> None:
    assert refusal(save(content, tmp_path / "a.pt")) == is_a + REMEDY


@pytest.mark.torch
def test_a_pickled_network_is_refused(tmp_path: Path) -> None:
    import torch

    path = save(torch.nn.Linear(2, 3), tmp_path / "a.pt")
    assert refusal(path) == f"a pickle that names torch.nn.modules.linear.Linear, which could run code{REMEDY}"


@pytest.mark.torch
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        for name in ("a/data.pkl", "a/constants.pkl", "a/code/__torch__.py", "a/version"):
            archive.writestr(name, b"3\n")
    assert refusal(tmp_path / "a.pt") == f"a TorchScript program, which is code{REMEDY}"


def png() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "is_a"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><title>404</title>", "an HTML page"),
        (b"Not Found\n", "text beginning 'Not Found'"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:6d", "a Git LFS pointer, because the file itself"),
        (png(), "a PNG"),
        (bytes([0xFE, 0xED] * 8), "data beginning with the bytes fe ed fe ed fe ed fe ed"),
        (b"\x10" + b"\0" * 7 + b'{"a":{"dtype":', "a damaged safetensors file"),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, content: bytes, is_a: str) -> None:
    path = tmp_path / "mobile_sam.pt"
    path.write_bytes(content)
    assert refusal(path).startswith(is_a)


@pytest.mark.torch
def test_a_zip_that_torch_did_not_write(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    assert refusal(tmp_path / "a.npz") == f"a ZIP archive that torch did not write{REMEDY}"


@pytest.mark.torch
@pytest.mark.parametrize("part", [0.001, 0.5, 0.999])
def test_a_truncated_file(tmp_path: Path, tensors: dict[str, Any], safe: Path, part: float) -> None:
    zipped = save(tensors, tmp_path / "zip.pt")
    legacy = save(tensors, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    for path in (zipped, legacy):
        os.truncate(path, int(part * path.stat().st_size))
    assert refusal(zipped) == f"a ZIP file that is truncated or damaged{REMEDY}"
    assert refusal(legacy) == f"a damaged pickle{REMEDY}"
    cut = tmp_path / "a.safetensors"
    cut.write_bytes(safe.read_bytes()[: int(part * safe.stat().st_size)])
    assert refusal(cut).startswith("a damaged safetensors file (")


@pytest.mark.torch
@pytest.mark.parametrize("legacy", [False, True])
def test_damage_anywhere_in_a_pickle_gives_a_checkpoint_error(tmp_path: Path, legacy: bool) -> None:
    import torch

    small = {f"image_encoder.{index}": torch.zeros(2) for index in range(5)}
    good = save(small, tmp_path / "good.pt", _use_new_zipfile_serialization=not legacy).read_bytes()
    random = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(good)
        for position in random.integers(4, len(good), 3):
            damaged[position] = random.integers(256)
        (tmp_path / "a.pt").write_bytes(damaged)
        with pytest.raises(CheckpointError):
            checkpoint.read(tmp_path / "a.pt")


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    absent = tmp_path / "absent.pt"
    with pytest.raises(
        CheckpointError, match=r"absent.pt cannot be read \(No such file or directory\). Check the path.$"
    ):
        checkpoint.read(absent)
    assert refusal(tmp_path) == f"a folder without encoder.onnx and sam.onnx{REMEDY}"
    with pytest.raises(CheckpointError, match=r"^ONNX pair must be two files, got 3; give a checkpoint of MobileSAM"):
        checkpoint.read([absent, absent, absent])
    with pytest.raises(CheckpointError, match=r"absent.pt cannot be read \(No such file or directory\)."):
        checkpoint.read([absent, absent])


def test_half_of_an_onnx_pair(tmp_path: Path) -> None:
    graph = onnx.helper.make_graph([], "g", [], [])
    path = tmp_path / "encoder.onnx"
    onnx.save(onnx.helper.make_model(graph, producer_name="pytorch"), path)
    remedy = "; give the folder that contains encoder.onnx and sam.onnx, or both files"
    assert refusal(path) == f"one ONNX file, which is half of a model{remedy}"


# Other networks, told by their keys.


@pytest.mark.parametrize(
    ("shapes", "is_a"),
    [
        ({"image_encoder.pos_embed": (1, 64, 64, 1280)}, "a SAM checkpoint of size vit_h: 593 missing (image_encoder"),
        ({"image_encoder.pos_embed": (1, 64, 64, 768)}, "a SAM checkpoint of size vit_b: 313 missing"),
        ({"image_encoder.pos_embed": (1, 64, 64, 99)}, "a SAM checkpoint of width 99: "),
        ({"image_encoder.pos_embed": ()}, "1 tensors of an unknown network, the first named"),
        (
            {"image_encoder.pos_embed": (1, 64, 64, 1024), "mask_decoder.hf_token.weight": (1, 256)},
            "a HQ-SAM checkpoint of size vit_l: ",
        ),
        (
            {"patch_embed.seq.0.c.weight": (32, 3, 3, 3), "head.bias": (1000,)},
            "a TinyViT image classifier: 435 missing",
        ),
        ({"patch_embed.seq.0.c.weight": (32, 3, 3, 3), "neck.0.weight": (1,)}, "a MobileSAM image encoder alone: 435"),
        ({"model.22.dfl.conv.weight": (1, 16, 1, 1)}, "a YOLOv8 or FastSAM checkpoint: "),
        (
            {"mask_decoder.iou_token.weight": (1, 256)},
            "a part of a SAM checkpoint, without a TinyViT image encoder: 434",
        ),
        ({"bert.a": (1,), "bert.b": (2,)}, "2 tensors of an unknown network, the first named 'bert.a': "),
    ],
)
def test_another_network_is_recognized(tmp_path: Path, shapes: dict[str, tuple[int, ...]], is_a: str) -> None:
    path = tmp_path / "a.safetensors"
    tensor_files.write_safetensors(path, {key: np.zeros(shape, np.float32) for key, shape in shapes.items()})
    assert refusal(path).startswith(is_a)


def test_the_difference_is_counted_and_the_first_five_named(tmp_path: Path, state: StateDict) -> None:
    broken = dict(state)
    removed = [key for key in state if ".local_conv.bn." in key][:6]
    for key in removed:
        del broken[key]
    broken["extra"] = np.zeros(1, np.float32)
    broken[KEY] = np.zeros((3, 256), np.float32)
    tensor_files.write_safetensors(tmp_path / "a.safetensors", broken)
    assert refusal(tmp_path / "a.safetensors") == (
        f"a MobileSAM checkpoint: 6 missing ({', '.join(removed[:5])} ...), 1 unexpected (extra), "
        f"1 of another shape ({KEY} (3, 256) instead of (4, 256)){REMEDY}"
    )


# Reading without torch.


@pytest.mark.torch
def test_without_torch_only_a_listed_pt_is_read(
    tmp_path: Path, tensors: dict[str, Any], state: StateDict, safe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tensors, tmp_path / "a.pt")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert_same(checkpoint.read(safe), state)
    with pytest.raises(MissingDependencyError) as caught:
        checkpoint.read(path)
    assert str(caught.value) == (
        f"{path} is not one of the official files, so reading it needs torch, which is not installed. "
        'Run: pip install "torch>=2.7", or convert the checkpoint to .safetensors.'
    )

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    listing = f'''
        [[weights]]
        name = "mobile_sam"
        role = "test"
        [[weights.sources]]
        url = "http://127.0.0.1:9"
        license = "Apache-2.0"
        files = [{{path = "a.pt", size = {path.stat().st_size}, sha256 = "{digest}"}}]
    '''
    monkeypatch.setattr("mobilesam.weights.store.default_store", lambda: Store(tmp_path, listing))
    assert_same(checkpoint.read(path), state)


@pytest.mark.torch
def test_the_reader_without_torch_agrees_with_torch(tmp_path: Path) -> None:
    import torch

    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    content = OrderedDict(
        plain=base,
        transposed=base.T,
        window=base[1:3, 2:5],
        half=base.half(),
        brain=base.bfloat16() / 3,
        counter=torch.tensor(7),
        flags=base > 3,
        nothing=torch.zeros(0, 4),
    )
    path = save({"model": content, "epoch": 2}, tmp_path / "a.pt")
    read: Any = tensor_files.read_torch_zip(path)
    assert read["epoch"] == 2
    for key, value in content.items():
        actual = read["model"][key]
        np.testing.assert_array_equal(actual, value.float().numpy() if value.is_floating_point() else value.numpy())


@pytest.mark.torch
def test_the_reader_without_torch_runs_nothing(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    path = save({KEY: Evil(proof)}, tmp_path / "a.pt")
    with pytest.raises(pickle.UnpicklingError, match=rf"the file imports {open.__module__}\.open"):
        tensor_files.read_torch_zip(path)
    assert not proof.exists()


class Reaching:
    """Pickles as a tensor that claims to be larger than its storage."""

    def __reduce__(self) -> Any:
        import torch

        storage = torch.zeros(4).storage()
        return torch._utils._rebuild_tensor_v2, (storage, 0, (5,), (1,), False, OrderedDict())


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_the_reader_without_torch_stays_inside_the_file(tmp_path: Path) -> None:
    path = save({KEY: Reaching()}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="a tensor reaches outside its storage"):
        tensor_files.read_torch_zip(path)
