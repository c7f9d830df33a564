"""The choosers of a checkpoint in its exports: in the graphs, a quantized folder, and the files of a browser."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import mobilesam
from mobilesam.config import ALL_MASKS
from mobilesam.errors import InputError, WeightsError
from mobilesam.export import Plan, export_onnx, site_model
from mobilesam.export.decoder_files import decoder_files
from mobilesam.export.quantize import quantize
from mobilesam.export.site_source import GRAPHS, source_of
from mobilesam.export.verify import verify
from mobilesam.learned import LearnedArrays
from mobilesam.masks import choosers
from mobilesam.masks.choosers import PUBLISHED, Choosers
from mobilesam.masks.selection import choose
from mobilesam.model import Embedding
from mobilesam.onnx import OnnxSam
from mobilesam.prompts.arrays import make_prompts
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import segment_objects
from tests.photos import photo
from tests.tuned_model import BOX, POINT, write_tuned
from tests.webui.model_script import run

pytestmark = [pytest.mark.torch, pytest.mark.weights]
OBJECTS = [ObjectPrompt((POINT,), (1,)), ObjectPrompt(box=BOX)]
PARTS = ("encoder", "split_decoder", "decoder", "chooser")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Path:
    return write_tuned(tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="module")
def network(tuned: Path) -> Any:
    return mobilesam.load(tuned, "torch")


@pytest.fixture(scope="module")
def folder(network: Any, tmp_path_factory) -> Path:
    """An export with the chooser as a graph, and in the decoder."""
    out = tmp_path_factory.mktemp("export")
    plan = Plan(parts=PARTS, return_single_mask=True, select="learned")
    assert max(exported.error for exported in export_onnx(network.sam, out, plan)) < 1e-4
    return out


@pytest.fixture(scope="module")
def embedding(network: Any) -> Embedding:
    """That of all models here: only their decoders differ."""
    return network.encode(photo("coffee"))


def test_verify_names_the_remedy_for_files_of_other_weights(command: Any, folder: Path, tuned: Path) -> None:
    outcome = command("verify", folder)
    assert (outcome.code, outcome.err) == (
        1,
        "The files were exported from other weights. Name these with --against CHECKPOINT.\n",
    )
    outcome = command("verify", folder, "--against", tuned)
    assert (outcome.code, outcome.err) == (0, "")


def confidences(model: Any, embedding: Embedding) -> list[Any]:
    """Return the confidence and the area of the chosen masks."""
    same = Embedding(model.load_features(embedding.features), embedding.original_hw, embedding.input_hw)
    records = [record for (record,) in segment_objects(model, same, OBJECTS)]
    return [(record.get("confidence"), record["area"]) for record in records]


@pytest.fixture(scope="module")
def expected(network: Any, embedding: Embedding) -> list[Any]:
    return confidences(network, embedding)


def test_the_folder_has_them(folder: Path, tuned: Path, network: Any, embedding: Embedding, expected) -> None:
    content = (folder / "choosers.npz").read_bytes()
    assert content == choosers.file_of(tuned).read_bytes()
    about = json.loads((folder / "manifest.json").read_text())
    assert about["choosers"] == {
        "file": "choosers.npz",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert {entry["file"] for entry in about["files"]} == {path.name for path in folder.glob("*.onnx")}
    for source in (folder, ",".join(map(str, sorted(folder.glob("*.onnx"))))):
        actual = confidences(mobilesam.load(source), embedding)
        np.testing.assert_allclose(actual, expected, rtol=2e-3)
    with pytest.raises(InputError, match=r"output file must not exist yet, got .*encoder\.onnx"):
        export_onnx(network.sam, folder, Plan(parts=PARTS))
    decoder_alone = Plan(parts=("split_decoder",))
    other = folder.with_name("other")
    other.mkdir()
    (other / "choosers.npz").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"output file must not exist yet, got .*choosers\.npz"):
        export_onnx(network.sam, other, decoder_alone)


def test_the_graphs_choose_the_same(folder: Path, network: Any, embedding: Embedding, expected, monkeypatch) -> None:
    features = network.dump_features(embedding.features)
    frame = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    prompts, _ = make_prompts([POINT], [1], **frame)
    feeds = {
        "image_embeddings": features,
        "point_coords": prompts.point_coords,
        "point_labels": prompts.point_labels,
        "mask_input": np.zeros((1, 1, 256, 256), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.array(embedding.original_hw, np.float32),
    }
    decoder, graph = (
        onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        for name in ("decoder.onnx", "chooser.onnx")
    )
    masks, confidence = decoder.run(["masks", "confidence"], feeds)
    assert confidence[0] == pytest.approx(expected[0][0], abs=1e-3)
    assert int((masks > 0).sum()) == pytest.approx(expected[0][1], abs=3)
    logits, ious = network.decode(embedding, prompts, ALL_MASKS)
    given = {"low_res_masks": logits, "iou_predictions": ious}
    given |= {name: feeds[name] for name in ("point_coords", "orig_im_size")}
    (confidence,) = graph.run(["confidence"], given)
    assert confidence[0] == pytest.approx(expected[0][0], abs=1e-4)
    monkeypatch.setattr("mobilesam.export.verify.SHAPES", ["landscape"])
    assert all(row.passed for row in verify([folder / "decoder.onnx"], network))


def test_weights_trained_further_have_none(network: Any, tmp_path: Path) -> None:
    import copy

    import torch

    sam = copy.deepcopy(network.sam)
    with torch.no_grad():
        sam.mask_decoder.iou_token.weight += 0.5
    with pytest.raises(InputError, match="parts must be without chooser for these weights"):
        export_onnx(sam, tmp_path, Plan(parts=("chooser",)))
    export_onnx(sam, tmp_path, Plan(parts=("split_decoder",)))
    assert not (tmp_path / "choosers.npz").exists()
    assert "choosers" not in json.loads((tmp_path / "manifest.json").read_text())


@pytest.fixture
def split(folder: Path, tmp_path: Path) -> Path:
    """The export without the decoder that cannot be quantized."""
    return Path(shutil.copytree(folder, tmp_path / "split", ignore=shutil.ignore_patterns("decoder.onnx")))


def test_a_quantized_folder_has_them(split: Path, tmp_path: Path, embedding: Embedding, expected) -> None:
    quantize(split, tmp_path / "int8")
    assert (tmp_path / "int8" / "choosers.npz").read_bytes() == (split / "choosers.npz").read_bytes()
    assert "choosers" in json.loads((tmp_path / "int8" / "manifest.json").read_text())
    model = mobilesam.load(tmp_path / "int8")
    assert isinstance(model, OnnxSam)
    assert model.weights_id != model.source_weights_id == model.worker.source_weights_id
    assert model.worker.choosers is model.choosers
    for (confidence, area), (wanted, of_area) in zip(confidences(model, embedding), expected, strict=True):
        assert confidence == pytest.approx(wanted, abs=0.03)
        assert area == pytest.approx(of_area, rel=0.03)
    (tmp_path / "int8" / "choosers.npz").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"The choosers file .*int8/choosers\.npz cannot be used"):
        mobilesam.load(tmp_path / "int8")


def learned_of(files: dict[str, bytes]) -> dict[str, Any]:
    return json.loads(files["weights/learned.json"])


def test_the_files_of_a_browser_have_them(
    folder: Path, split: Path, tuned: Path, network: Any, embedding: Embedding, tmp_path: Path
) -> None:
    every = learned_of(site_model.model_files(folder, GRAPHS))
    with source_of(str(tuned)) as source:
        bound = learned_of(site_model.model_files(source, GRAPHS))
    served = learned_of(decoder_files(str(tuned), []))
    assert every == bound == served
    assert every["expectation"] is None

    own = network.choosers
    choosers.write(split / "choosers.npz", Choosers(own.point))
    click = learned_of(site_model.model_files(split, GRAPHS))
    assert click == {**every, "box_chooser": None}
    (split / "choosers.npz").unlink()
    assert "weights/learned.json" not in site_model.model_files(split, GRAPHS)

    code = """
    import { arraysOf } from "./static/model/files.js";
    import { confidencesOf, keptMask } from "./static/model/selection.js";
    const masks = [0, 1, 2, 3].map((mask) => given.logits.subarray(65536 * mask, 65536 * (mask + 1)));
    const result = given.learned.map(({ chooser, box_chooser }) => given.prompts.map(({ coords, labels }) => {
      const learned = { point: arraysOf(chooser), box: arraysOf(box_chooser) };
      const frame = { input: given.input };
      const confidences = confidencesOf(learned, { coords, labels }, masks, given.ious, frame);
      return [confidences, keptMask(confidences, { coords, labels }, masks, given.ious)];
    }));
    """
    frame = {"original_hw": embedding.original_hw, "input_hw": embedding.input_hw}
    click_prompt, _ = make_prompts([POINT], [1], **frame)
    box_prompt, _ = make_prompts(box=BOX, **frame)
    logits, ious = (part[0] for part in network.decode(embedding, click_prompt, ALL_MASKS))
    result = run(
        tmp_path,
        code,
        logits=logits,
        ious=ious.tolist(),
        learned=[every, click, {"chooser": None, "box_chooser": None}],
        input={"height": embedding.input_hw[0], "width": embedding.input_hw[1]},
        prompts=[
            {"coords": each.point_coords[0].ravel(), "labels": each.point_labels[0]}
            for each in (click_prompt, box_prompt)
        ],
    )
    from mobilesam.masks import box_chooser, chooser

    of_click = chooser.confidences(
        logits, ious, click_prompt.point_coords[0, 0], embedding.input_hw, learned=own.point.arrays
    )
    of_box = box_chooser.confidences(
        logits, ious, box_prompt.point_coords[0, :2], embedding.input_hw, learned=own.box.arrays
    )
    for have_both, have_click, have_none, wanted in zip(*result, (of_click, of_box), strict=True):
        np.testing.assert_allclose(have_both[0], wanted, atol=1e-4)
        assert have_both[1] == int(np.argmax(wanted))
        assert have_none[0] is None
        assert have_click == (have_both if wanted is of_click else have_none)
    assert [kept for _, kept in result[2]] == [choose("agreement", logits, ious), 0]


def test_an_export_of_the_published_weights_has_no_such_file(exported: Path) -> None:
    assert not (exported / "choosers.npz").exists()
    assert mobilesam.load(exported).choosers is PUBLISHED
    assert not isinstance(PUBLISHED.point, LearnedArrays)
