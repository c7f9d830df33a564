"""Export to LiteRT: the files compute what the network does, say what they are, and are a model like any other."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam.errors import InputError
from tests.automatic.test_golden import RUNS, differences, records_of
from tests.photos import photo

pytestmark = [pytest.mark.torch, pytest.mark.weights]

ROLES = ("encoder", "image", "score", "upscale", "decoder")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mobilesam", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def export(out: Path, *more: str) -> Path:
    done = run("export", "--to", "litert", "--out", out, *more)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("litert") / "phone")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight bits, two points, and frames of a camera."""
    options = ("--precision", "int8", "--points", "2", "--image-size", "768x1024")
    return export(tmp_path_factory.mktemp("litert") / "small", *options)


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def size(folder: Path) -> float:
    return sum((folder / f"{role}.tflite").stat().st_size for role in ("encoder", "decoder")) / 1e6


def test_the_manifest_describes_the_files(exported: Path) -> None:
    about = manifest(exported)
    assert [each["role"] for each in about["files"]] == list(ROLES)
    for each in about["files"]:
        content = (exported / each["file"]).read_bytes()
        assert (each["size"], each["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    encoder, decoder = about["files"][0], about["files"][4]
    assert [value["shape"] for value in encoder["inputs"]] == [[1, 3, 1024, 1024]]
    assert {value["name"]: value["shape"] for value in decoder["inputs"]}["point_coords"] == [1, 8, 2]
    assert about["preprocessing"]["mean"] == [123.675, 116.28, 103.53]
    assert about["prompts"]["labels"]["absent"] == -2


def test_no_file_has_what_the_gpus_of_phones_refuse(exported: Path, small: Path) -> None:
    from mobilesam.export import litert

    for folder in (exported, small):
        for role in ROLES:
            used = litert.operators((folder / f"{role}.tflite").read_bytes())
            assert used.largest_rank <= 4
            assert not {"BROADCAST_TO", "GATHER_ND", "TRANSPOSE_CONV"} & used.counts.keys()
            assert not [name for name in used.counts if name.startswith(("CUSTOM", "Flex"))]


def test_float32_files_compute_what_the_network_does(exported: Path) -> None:
    rows = {row["output"]: row for row in manifest(exported)["compared"]}
    assert rows["image_embeddings"]["error"] <= 1e-4
    assert rows["low_res_masks, same embedding"]["error"] <= 5e-3
    assert rows["low_res_masks, same embedding"]["cases"] == 2 * 5 * 9, "both decoders, five shapes, nine prompts"
    assert rows["mask IoU, the lowest"]["error"] <= 1e-3


def test_less_precision_makes_small_files(exported: Path, small: Path) -> None:
    assert size(exported) < 46
    assert size(small) < 16 + 1.1, "a frame that is not the square has a megabyte of an empty image's embedding"


def test_verify_compares_them_again(exported: Path, small: Path) -> None:
    for folder in (exported, small):
        done = run("verify", str(folder))
        assert done.returncode == 0, done.stderr
        assert "mask IoU, the mean" in done.stdout
    damaged = exported.parent / "damaged"
    shutil.copytree(exported, damaged)
    shutil.copy(small / "upscale.tflite", damaged / "score.tflite")
    done = run("verify", str(damaged))
    assert (done.returncode, done.stdout) == (1, "")
    assert "the file score.tflite is damaged" in done.stderr


def test_it_is_a_model_like_any_other(exported: Path, torch_sam: Any) -> None:
    model = mobilesam.load(exported)
    assert model.capabilities.device == "CPU of LiteRT"
    image = photo("coffee")
    ours, wanted = mobilesam.SamPredictor(model), mobilesam.SamPredictor(torch_sam)
    for predictor in (ours, wanted):
        predictor.set_image(image)
    points = np.array([[210, 140], [300, 200], [250, 300], [400, 200], [150, 250], [90, 90]])
    labels, box = np.array([1, 1, 1, 1, 0, 0]), [75, 10, 482, 395]
    prompts: list[dict[str, Any]] = [{"point_coords": points[:n], "point_labels": labels[:n]} for n in range(1, 7)]
    prompts += [{"box": box}, {"box": box, "point_coords": points, "point_labels": labels}]
    for prompt in prompts:
        (masks, scores, low_res), (others, other_scores, _) = ours.predict(**prompt), wanted.predict(**prompt)
        assert np.abs(scores - other_scores).max() < 1e-3
        for mask, other in zip(masks, others, strict=True):
            assert (mask & other).sum() >= 0.999 * (mask | other).sum()
        again = ours.predict(**prompt, mask_input=low_res[[scores.argmax()]])[0]
        best = wanted.predict(**prompt, mask_input=low_res[[scores.argmax()]])[0]
        assert (again & best).sum() >= 0.999 * (again | best).sum()
    assert ours.predict_one(points[:1], labels[:1], select="learned").confidence == pytest.approx(
        wanted.predict_one(points[:1], labels[:1], select="learned").confidence, abs=1e-3
    )


def test_everything_mode_is_the_recorded_run(exported: Path) -> None:
    golden = next(each for each in RUNS if each["image"] == "chelsea")
    options = {"output_mode": "coco_rle", **golden["options"]}
    generator = mobilesam.SamAutomaticMaskGenerator(mobilesam.load(exported), **options)
    results, recorded = generator.generate(photo("chelsea")), records_of(golden)
    assert len(results) == len(recorded)
    assert differences(results, recorded) == []


def test_the_golden_vectors_are_those_of_the_files(exported: Path, small: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for folder in (exported, small):
        tolerances = manifest(folder)["golden"]["tolerances"]
        with np.load(folder / "golden.npz", allow_pickle=False) as archive:
            golden = dict(archive)
        encode = Interpreter(str(folder / "encoder.tflite")).get_signature_runner()
        decode = Interpreter(str(folder / "decoder.tflite")).get_signature_runner()
        outputs = encode(input_image=golden["input_image"])
        outputs |= decode(
            image_embeddings=outputs["image_embeddings"],
            point_coords=golden["point_coords"],
            point_labels=golden["point_labels"],
            mask_input=np.zeros((1, 1, 256, 256), np.float32),
            has_mask_input=np.zeros(1, np.float32),
        )
        for name, tolerance in tolerances.items():
            assert np.abs(outputs[name] - golden[name]).max() <= tolerance, name


def test_a_frame_takes_the_images_that_fit(small: Path, torch_sam: Any) -> None:
    model = mobilesam.load(small)
    predictor, wanted = mobilesam.SamPredictor(model), mobilesam.SamPredictor(torch_sam)
    image = photo("coffee")
    for each in (predictor, wanted):
        each.set_image(image)
    box = {"box": [75, 10, 482, 395], "multimask_output": False}
    mask, other = predictor.predict(**box)[0][0], wanted.predict(**box)[0][0]
    assert (mask & other).sum() >= 0.9 * (mask | other).sum()
    with pytest.raises(InputError, match="image in the model frame must fit into 768x1024"):
        predictor.set_image(np.rot90(image).copy())


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
    shutil.copytree(exported, damaged)
    (damaged / "encoder.tflite").write_bytes((exported / "encoder.tflite").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"the file encoder\.tflite is damaged"):
        mobilesam.load(damaged)
    about = manifest(damaged)
    del about["files"][0]["sha256"]
    (damaged / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"LiteRT failed to open .*encoder\.tflite"):
        mobilesam.load(damaged)


def test_files_that_exist_are_kept(exported: Path) -> None:
    before = (exported / "manifest.json").read_bytes()
    done = run("export", "--to", "litert", "--out", str(exported))
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert (exported / "manifest.json").read_bytes() == before
