"""Export to ncnn: the encoder and the decoder, in float32 and with float16 weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import mobilesam
from mobilesam.errors import InputError
from tests.photos import photo
from tests.runtimes import exports
from tests.runtimes.exports import export, manifest, run

pytestmark = [pytest.mark.torch, pytest.mark.weights, pytest.mark.slow]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export("ncnn", tmp_path_factory.mktemp("ncnn") / "float32")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = ("--precision", "float16", "--points", "2", "--image-size", "768x1024")
    return export("ncnn", tmp_path_factory.mktemp("ncnn") / "float16", *options)


def test_float32_files_compute_what_the_network_does(exported: Path, torch_sam: Any) -> None:
    exports.assert_described(exported)
    assert [each["role"] for each in manifest(exported)["files"]] == ["encoder", "decoder"]
    exports.assert_equal_float32(exported, decoders=1)
    exports.assert_same_masks(exported, torch_sam, "CPU of ncnn")


def test_the_golden_vectors_are_those_of_the_files(exported: Path, small: Path) -> None:
    from mobilesam.runtimes import ncnn

    for folder in (exported, small):
        exports.assert_golden(folder, ncnn.open_run)


def test_everything_mode_runs_on_the_decoder_for_one_prompt(small: Path) -> None:
    generator = mobilesam.SamAutomaticMaskGenerator(mobilesam.load(small), points_per_side=4)
    assert len(generator.generate(photo("coffee"))) >= 2


def test_what_cannot_be_done_is_named(small: Path, tmp_path: Path) -> None:
    done = run("export", "--to", "ncnn", "--precision", "int8", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "precision for ncnn must be one of float32, float16, got 'int8'" in done.stderr
    assert not (tmp_path / "out").exists()
    damaged = tmp_path / "damaged"
    shutil.copytree(small, damaged)
    (damaged / "decoder.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"the file decoder\.bin is damaged"):
        mobilesam.load(damaged)
