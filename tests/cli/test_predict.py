"""``mobilesam predict`` on real photos with the real model, and on what is not an image."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilesam import SamPredictor

real = [pytest.mark.weights, pytest.mark.torch]

CAT, CUP, CUP_BOX = (230, 130), (300, 150), (140, 40, 470, 330)


def pixels(path: Path | str) -> np.ndarray:
    with Image.open(path) as photo:
        return np.asarray(photo)


def text(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def cup(sam: Any, photo: Callable[[str], Path]) -> SamPredictor:
    predictor = SamPredictor(sam)
    predictor.set_image(photo("coffee.png"))
    return predictor


class TestRealPhotos:
    pytestmark = real

    def test_select_keeps_the_mask_that_it_names(
        self, command: Callable[..., Any], photo: Callable[[str], Path], cup: SamPredictor
    ) -> None:
        point = ("--point", "300,100", "--format", "mask", "--force")
        masks = []
        for rule in ("learned", "agreement", "score", "single"):
            assert command("predict", photo("coffee.png"), *point, "--select", rule).code == 0
            masks.append(pixels("coffee-mask.png") > 0)
            expected = cup.predict_one([[300, 100]], [1], select=rule).masks[0]
            np.testing.assert_array_equal(masks[-1], expected)
        assert len({mask.sum() for mask in masks}) > 1

    def test_a_point_keeps_the_mask_of_the_highest_confidence(
        self, command: Callable[..., Any], photo: Callable[[str], Path], cup: SamPredictor
    ) -> None:
        outcome = command("predict", photo("coffee.png"), "--point", text(CUP))
        assert outcome.code == 0
        assert outcome.out == "coffee-overlay.png\ncoffee-mask.png\n"
        assert "coffee.png: object 1, confidence 0." in outcome.err
        mask = cup.predict_one([CUP], [1]).masks[0]
        np.testing.assert_array_equal(pixels("coffee-mask.png"), mask * np.uint8(255))
        overlay, image = pixels("coffee-overlay.png"), pixels(photo("coffee.png"))
        assert overlay.shape == image.shape
        assert (overlay != image).any()

    @pytest.mark.usefixtures("models_of_its_own")
    def test_json_describes_every_mask_of_a_box_and_a_file(
        self, command: Callable[..., Any], photo: Callable[[str], Path], cup: SamPredictor
    ) -> None:
        arguments = ("--box", text(CUP_BOX), "--json", "--format", "mask,cutout", "--out", "new/folder")
        outcome = command("predict", photo("coffee.png"), *arguments)
        assert outcome.code == 0
        document = json.loads(outcome.out)
        assert (document["version"], document["errors"]) == (2, [])
        (photo,) = document["images"]
        assert (photo["width"], photo["height"]) == (600, 400)
        assert set(photo["timings_ms"]) == {"read", "encode", "decode", "write"}
        assert photo["timings_ms"]["encode"] > 10
        (item,) = photo["objects"]
        assert item["prompt"] == {"box": [140, 40, 470, 330]}
        (mask,) = item["masks"]
        expected, scores, _ = cup.predict_one(box=CUP_BOX)
        rows, columns = np.nonzero(expected[0])
        x, y = columns.min(), rows.min()
        assert mask["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
        assert mask["area"] == len(rows)
        assert mask["predicted_iou"] == pytest.approx(float(scores[0]), abs=1e-3)
        cutout = pixels(mask["files"]["cutout"])
        np.testing.assert_array_equal(cutout[..., 3] > 0, expected[0])
        np.testing.assert_array_equal(pixels(mask["files"]["mask"]) > 0, expected[0])

    def test_multimask_keeps_three_best_first_for_each_object(
        self, command: Callable[..., Any], photo: Callable[[str], Path]
    ) -> None:
        arguments = ("--box", "90,30,330,500", "--box", "150,20,300,200", "--multimask", "--json")
        document = json.loads(command("predict", photo("astronaut.png"), *arguments).out)
        for item in document["images"][0]["objects"]:
            scores = [mask["predicted_iou"] for mask in item["masks"]]
            assert len(scores) == 3
            assert scores == sorted(scores, reverse=True)
        listed = {
            *document["images"][0]["files"]["overlay"],
            *(mask["files"]["mask"] for item in document["images"][0]["objects"] for mask in item["masks"]),
        }
        assert listed == {path.name for path in Path().iterdir()}
        assert len(listed) == 3 + 6

    def test_one_bad_photo_does_not_stop_the_others(
        self, command: Callable[..., Any], photo: Callable[[str], Path]
    ) -> None:
        Path("broken.png").write_bytes(photo("chelsea.png").read_bytes()[:100_000])
        outcome = command("predict", "broken.png", "nowhere.jpg", photo("chelsea.png"), "--point", text(CAT), "--json")
        assert outcome.code == 1
        document = json.loads(outcome.out)
        assert [Path(photo["image"]).name for photo in document["images"]] == ["chelsea.png"]
        assert [entry["image"] for entry in document["errors"]] == ["broken.png", "nowhere.jpg"]
        assert "error: image must be a complete image, got broken.png" in outcome.err
        assert "error: image must be an existing file, got nowhere.jpg;" in outcome.err
        assert Path("chelsea-mask.png").exists()

    def test_a_photo_on_standard_input(self, command: Callable[..., Any], photo: Callable[[str], Path]) -> None:
        stdin = SimpleNamespace(buffer=io.BytesIO(photo("chelsea.png").read_bytes()))
        outcome = command("predict", "-", "--point", text(CAT), "--format", "mask", stdin=stdin)
        assert (outcome.code, outcome.out) == (0, "stdin-mask.png\n")
        assert pixels("stdin-mask.png").shape == (300, 451)

    def test_prompts_of_a_file_go_to_their_photos(
        self, command: Callable[..., Any], photo: Callable[[str], Path]
    ) -> None:
        cat, cup = [{"points": [[230, 130]]}], [{"box": list(CUP_BOX)}, {"points": [[300, 150], [20, 20, 0]]}]
        document = {"version": 1, "images": {"chelsea.png": cat, "coffee.png": cup}}
        Path("prompts.json").write_text(json.dumps(document))
        arguments = ("--prompts", "prompts.json", "--json", "--format", "mask")
        document = json.loads(command("predict", photo("coffee.png"), photo("chelsea.png"), *arguments).out)
        prompts = [[item["prompt"] for item in photo["objects"]] for photo in document["images"]]
        assert prompts == [
            [{"box": list(CUP_BOX)}, {"points": [[300, 150, 1], [20, 20, 0]]}],
            [{"points": [[230, 130, 1]]}],
        ]
        assert {path.name for path in Path().glob("*.png")} == {
            "coffee-mask.png",
            "coffee-mask-2.png",
            "chelsea-mask.png",
        }

    def test_a_box_with_reversed_corners_and_a_point_outside(
        self, command: Callable[..., Any], photo: Callable[[str], Path]
    ) -> None:
        outcome = command("predict", photo("chelsea.png"), "--box", "420,299,80,20")
        assert (outcome.code, outcome.out) == (1, "")
        assert "chelsea.png: box must have x1 < x2 and y1 < y2, got [420, 299, 80, 20]; its corners" in outcome.err
        assert list(Path().iterdir()) == []
        outcome = command("predict", photo("chelsea.png"), "--point", "9000,10", "--format", "mask")
        assert outcome.code == 0
        assert outcome.err.count("warning:") == 1
        assert "point [9000, 10] lies outside the image, 451 wide and 300 high" in outcome.err

    def test_a_full_disk_leaves_no_half_file(self, photo: Callable[[str], Path]) -> None:
        # A limit on the size of files makes the system refuse a write half-way, as a full disk does.
        code = (
            "import resource, sys\n"
            "from mobilesam.cli import main\n"
            "from mobilesam.cli import output\n"
            "import mobilesam.predictor, mobilesam.modeling.torch_sam\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
            "main()\n"
        )
        arguments = ["predict", str(photo("chelsea.png")), "--point", text(CAT), "--out", "here"]
        finished = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        assert finished.returncode == 1
        assert "error: output folder must be writable, got here (File too large); choose another" in finished.stderr
        assert "Traceback" not in finished.stderr
        assert list(Path("here").iterdir()) == []


def test_nothing_is_overwritten_and_the_model_is_not_run(
    command: Callable[..., Any], photo: Callable[[str], Path]
) -> None:
    Path("chelsea-mask.png").write_bytes(b"mine")
    outcome = command("predict", photo("chelsea.png"), "--point", text(CAT), "--model", "does/not/exist.pt")
    message = "error: output file must not exist yet, got chelsea-mask.png; choose another one, or overwrite it with"
    assert outcome.code == 1
    assert message in outcome.err
    assert Path("chelsea-mask.png").read_bytes() == b"mine"
    assert len(list(Path().iterdir())) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "image must be an existing file, got x.png;"),
        (b"", "image must be an image, got x.png, which is empty (zero bytes);"),
        (b"<!DOCTYPE html><p>404", "image must be an image, got x.png, which Pillow cannot read"),
        ("folder", "image must be a file, got the directory x.png;"),
    ],
)
def test_what_is_no_photo_is_named_before_a_model_is_loaded(
    command: Callable[..., Any], content: bytes | str | None, message: str
) -> None:
    if content == "folder":
        Path("x.png").mkdir()
    elif isinstance(content, bytes):
        Path("x.png").write_bytes(content)
    before = list(Path().iterdir())
    outcome = command("predict", "x.png", "--point", "1,1", "--model", "does/not/exist.pt")
    assert outcome.code == 1
    assert outcome.out == ""
    assert f"error: {message}" in outcome.err
    assert list(Path().iterdir()) == before


def test_an_empty_standard_input(command: Callable[..., Any]) -> None:
    outcome = command("predict", "-", "--point", "1,1", stdin=SimpleNamespace(buffer=io.BytesIO()))
    assert outcome.code == 1
    assert "-: image must be an image, got data, which is empty (zero bytes);" in outcome.err


@pytest.mark.weights
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--provider", "coda"], "provider must be one of auto, cpu, cuda, "),
        (
            ["--provider", "cpu", "--backend", "torch"],
            "provider must be used with the onnx backend, got backend 'torch';",
        ),
    ],
)
def test_a_provider_is_checked(
    command: Callable[..., Any], photo: Callable[[str], Path], arguments: list[str], message: str
) -> None:
    outcome = command("predict", photo("chelsea.png"), "--point", text(CAT), *arguments)
    assert (outcome.code, outcome.out) == (1, "")
    assert f"error: {message}" in outcome.err


@pytest.mark.torch
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("mobile_sma", "model must be one of "),
        ("no/such/file.pt", "model must be a file that exists, got no/such/file.pt;"),
    ],
)
def test_an_unknown_model_stops_everything_once(command: Callable[..., Any], model: str, message: str) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(name)
    outcome = command("predict", "a.png", "b.png", "--point", "1,1", "--model", model)
    assert outcome.code == 1
    assert outcome.err.count("error:") == 1
    assert message in outcome.err


def test_a_prompt_file_that_does_not_name_the_photo(command: Callable[..., Any]) -> None:
    Path("prompts.json").write_text('{"version": 1, "images": {"cat.jpg": [{"points": [[1, 2]]}]}}')
    outcome = command("predict", "cta.jpg", "--prompts", "prompts.json")
    assert outcome.code == 1
    assert "error: The prompt file has no prompts for 'cta.jpg'. It has prompts for" in outcome.err
    assert "'cat.jpg'" in outcome.err


@pytest.mark.weights
@pytest.mark.torch
def test_an_output_folder_that_cannot_be_written(command: Callable[..., Any], photo: Callable[[str], Path]) -> None:
    Path("taken").write_text("a file")
    outcome = command("predict", photo("chelsea.png"), "--point", text(CAT), "--out", "taken")
    assert outcome.code == 1
    assert "error: output folder must be writable, got taken (" in outcome.err
    if os.geteuid() != 0:  # root may write anywhere
        Path("locked").mkdir(mode=0o500)
        outcome = command("predict", photo("chelsea.png"), "--point", text(CAT), "--out", "locked")
        assert "error: output folder must be writable, got locked (Permission denied);" in outcome.err


def test_select_does_not_go_with_multimask(command, photo, tmp_path):
    photo = photo("coffee.png")
    done = command("predict", photo, "--point", "1,1", "--multimask", "--select", "single", "--out", tmp_path)
    assert done.code == 2
    assert "--select must be used without --multimask, got both; omit one of them" in done.err
