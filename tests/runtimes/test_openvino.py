"""Export to OpenVINO: in each precision, and with the files of ``mobilesam quantize``."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest

import mobilesam
from mobilesam.errors import ExportError, InputError
from tests.runtimes import exports
from tests.runtimes.exports import manifest, run

RUNTIME = "openvino"
pytestmark = [pytest.mark.torch, pytest.mark.weights, pytest.mark.slow]


def test_float32_files_compute_what_the_network_does(exported: Path, small: Path, torch_sam: Any) -> None:
    exports.assert_described(exported)
    exports.assert_described(small, 2)
    exports.assert_equal_float32(exported)
    exports.assert_same_masks(exported, torch_sam, "CPU of OpenVINO")


def test_the_golden_vectors_are_those_of_the_files(exported: Path, small: Path) -> None:
    from mobilesam.runtimes import openvino

    for folder in (exported, small):
        exports.assert_golden(folder, openvino.open_run)


def test_eight_bits_are_small_and_verified(small: Path) -> None:
    assert exports.megabytes(small) < 14
    done = run("verify", small)
    assert done.returncode == 0, done.stderr
    rows = {row["output"]: row for row in manifest(small)["compared"]}
    assert rows["mask IoU, the mean"]["error"] <= 0.05


def test_files_that_do_not_compute_what_the_network_does_are_refused(small: Path, torch_sam: Any) -> None:
    """They are compared with another network here, whose predicted IoUs are larger by a third."""
    import torch

    from mobilesam.export import fixed_export
    from mobilesam.modeling.torch_sam import TorchSam
    from mobilesam.runtimes import openvino

    about = manifest(small)
    files = {part["file"]: (small / part["file"]).read_bytes() for each in about["files"] for part in each["parts"]}
    other = TorchSam(copy.deepcopy(torch_sam.sam))
    with torch.no_grad():
        other.sam.mask_decoder.iou_prediction_head.layers[-1].bias += 0.33
    message = "The converted network differs from the network: iou_predictions, end to end by 0.3.* Nothing was written"
    with pytest.raises(ExportError, match=message):
        fixed_export._compared(files, about, other, openvino.open_run)


def test_threads_do_not_disturb_each_other(small: Path) -> None:
    exports.assert_same_in_threads(small)


def test_float16_weights_take_half_of_the_size(torch_sam: Any) -> None:
    from mobilesam.export.fixed_modules import modules
    from mobilesam.export.targets import target

    (decoder,) = modules(torch_sam.sam, 6, (1024, 1024), ["decoder"])
    assert sum(map(len, target("openvino").convert(decoder, "float16").values())) < 9e6


def test_damage_is_named(small: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(small, damaged)
    (damaged / "decoder.bin").unlink()
    with pytest.raises(InputError, match=r"the file decoder\.bin is missing"):
        mobilesam.load(damaged)
    with pytest.raises(InputError, match="device must be cpu or auto for the backend openvino"):
        mobilesam.load(small, device="cuda")
