"""Export to LiteRT: the files compute what the network does, say what they are, and are a model like any other."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam.errors import InputError
from tests.automatic.test_golden import RUNS, differences, records_of
from tests.photos import photo
from tests.runtimes import exports
from tests.runtimes.exports import manifest, run

RUNTIME = "litert"
pytestmark = [pytest.mark.torch, pytest.mark.weights, pytest.mark.slow]

ROLES = ["encoder", "image", "score", "upscale", "decoder", "chooser"]


def test_the_manifest_describes_the_files(exported: Path, small: Path) -> None:
    for folder, points in ((exported, 6), (small, 2)):
        exports.assert_described(folder, points)
        assert [each["role"] for each in manifest(folder)["files"]] == ROLES
    assert manifest(exported)["files"][0]["inputs"][0]["shape"] == [1, 3, 1024, 1024]
    assert manifest(small)["files"][0]["inputs"][0]["shape"] == [1, 3, 768, 1024]


def test_no_file_has_what_the_gpus_of_phones_refuse(exported: Path, small: Path) -> None:
    from mobilesam.export.targets import litert

    for folder in (exported, small):
        for each in manifest(folder)["files"]:
            used = litert.operators({".tflite": (folder / each["file"]).read_bytes()})
            assert (used.counts, used.largest_rank) == (each["operators"], each["largest_rank"])
            assert used.largest_rank <= 4
            assert not {"BROADCAST_TO", "GATHER_ND", "TRANSPOSE_CONV"} & used.counts.keys()
            assert not [name for name in used.counts if name.startswith(("CUSTOM", "Flex"))]


def test_float32_files_compute_what_the_network_does(exported: Path, small: Path) -> None:
    exports.assert_equal_float32(exported)
    for folder in (exported, small):
        rows = {row["output"]: row for row in manifest(folder)["compared"]}
        assert rows["confidence of one click"]["error"] <= 1e-4, "the chooser stays in float32"


def test_less_precision_makes_small_files(exported: Path, small: Path) -> None:
    assert exports.megabytes(exported) < 41
    assert exports.megabytes(small) < 11.5 + 1.1, "a frame that is not the square has a part of an empty image"


def test_verify_compares_them_again(small: Path) -> None:
    done = run("verify", small)
    assert done.returncode == 0, done.stderr
    assert "mask IoU, the mean" in done.stdout
    damaged = small.parent / "damaged"
    shutil.copytree(small, damaged)
    shutil.copy(small / "upscale.tflite", damaged / "score.tflite")
    done = run("verify", damaged)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the file score.tflite is damaged" in done.stderr


def test_it_is_a_model_like_any_other(exported: Path, torch_sam: Any) -> None:
    exports.assert_same_masks(exported, torch_sam, "CPU of LiteRT")


def test_everything_mode_is_the_recorded_run(exported: Path) -> None:
    golden = next(each for each in RUNS if each["image"] == "chelsea")
    options = {"output_mode": "coco_rle", **golden["options"]}
    generator = mobilesam.SamAutomaticMaskGenerator(mobilesam.load(exported), **options)
    results, recorded = generator.generate(photo("chelsea")), records_of(golden)
    assert len(results) == len(recorded)
    assert differences(results, recorded) == []


def test_the_golden_vectors_are_those_of_the_files(exported: Path, small: Path) -> None:
    from mobilesam.runtimes import litert

    for folder in (exported, small):
        exports.assert_golden(folder, litert.open_run)


def test_a_frame_takes_the_images_that_fit(small: Path, torch_sam: Any) -> None:
    predictor, wanted = mobilesam.SamPredictor(mobilesam.load(small)), mobilesam.SamPredictor(torch_sam)
    image = photo("coffee")
    for each in (predictor, wanted):
        each.set_image(image)
    box = {"box": exports.BOX, "multimask_output": False}
    assert exports.share(predictor.predict(**box)[0][0], wanted.predict(**box)[0][0]) >= 0.9
    with pytest.raises(InputError, match="image in the model frame must fit into 768x1024"):
        predictor.set_image(np.rot90(image).copy())


def test_float16_weights_take_half_of_the_size(exported: Path) -> None:
    from mobilesam.export.targets import litert

    sizes = [len(litert.quantized(exported / f"{role}.tflite", "float16")) for role in ("encoder", "decoder")]
    assert sum(sizes) < 22e6


def test_threads_do_not_disturb_each_other(small: Path) -> None:
    exports.assert_same_in_threads(small)


def test_what_does_not_fit_is_named(exported: Path, small: Path, tmp_path: Path) -> None:
    predictor = mobilesam.SamPredictor(mobilesam.load(small))
    predictor.set_image(photo("coffee"))
    with pytest.raises(InputError, match="the points of a prompt must be at most 2, or 3 without a box, got 5"):
        predictor.predict(np.full((4, 2), 100), np.ones(4))
    with pytest.raises(InputError, match="device must be cpu or auto for the backend litert"):
        mobilesam.load(exported, "litert", "cuda")
    with pytest.raises(InputError, match="model must be an export to LiteRT for the backend litert"):
        mobilesam.load(None, "litert")
    damaged = tmp_path / "damaged"
    shutil.copytree(small, damaged)
    content = (small / "encoder.tflite").read_bytes()[:1000]
    (damaged / "encoder.tflite").write_bytes(content)
    with pytest.raises(InputError, match=r"the file encoder\.tflite is damaged"):
        mobilesam.load(damaged)
    about = manifest(damaged)
    about["files"][0]["parts"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    (damaged / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"LiteRT failed to open .*encoder\.tflite"):
        mobilesam.load(damaged)


def test_files_that_exist_are_kept(small: Path) -> None:
    before = (small / "manifest.json").read_bytes()
    done = run("export", "--to", "litert", "--out", small)
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert (small / "manifest.json").read_bytes() == before
