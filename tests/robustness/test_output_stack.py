"""predict, everything, batch and the page write the same formats, and say the same about a mask."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mobilesam import formats
from mobilesam.errors import FormatLossWarning
from mobilesam.formats.output import FORMATS
from mobilesam.prompts.file import PromptFile, dump
from tests.automatic.color_model import ColorModel, squares
from tests.formats.scenes import PHOTO
from tests.robustness.server_client import page_prompt
from tests.robustness.test_prompts_steps import EYE_POINT, MIXED

pytestmark = [
    pytest.mark.filterwarnings("ignore::mobilesam.errors.FormatLossWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in pycocotools
]

HW = (320, 512)
BOXES = [(20, 40, 160, 220), (200, 60, 360, 180)]
OBJECTS = [{"box": [20, 40, 160, 220], "label": "red"}, {"points": [[250, 100]], "label": "blue"}]
ALL = ",".join(FORMATS)
OF_ALL = {"coco.json", "masks.parquet", "data.yaml"}
OF_IMAGE = {"cat-overlay.png", "cat-indexed.png", "cat-instances.png", "cat-masks.csv", "cat.json", "cat.txt"}
OF_IMAGE |= {"cat.geojson"}
NUMBERED = {f"cat-{kind}/00{number}.png" for kind in ("masks", "cutouts") for number in (1, 2)}
PER_OBJECT = {f"cat-{kind}{number}.png" for kind in ("mask", "cutout") for number in ("", "-2")}


@pytest.fixture
def colors(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with cat.png and its prompts, and a model without weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mobilesam.cli.model.load_model", lambda *_, **__: ColorModel())
    monkeypatch.setattr("mobilesam.loading.load", lambda *_, **__: ColorModel())
    Image.fromarray(squares(HW, BOXES)).save("cat.png")
    Path("model.bin").write_bytes(b"weights")
    Path("prompts.json").write_text(json.dumps({"version": 1, "images": {"cat.png": OBJECTS}}))
    return tmp_path


def names(folder: str) -> set[str]:
    listed = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
    return listed - {"batch.sqlite"}


def keys(document: Any) -> set[str]:
    """Return all keys of a JSON document but those of ``files``, which are words."""
    if isinstance(document, list):
        return set[str]().union(*map(keys, document))
    if not isinstance(document, dict):
        return set()
    return set(document).union(*(keys(value) for key, value in document.items() if key != "files"))


def test_every_command_writes_every_format_under_its_documented_names(command: Any, colors: Path) -> None:
    prompts = ["--prompts", "prompts.json", "--format", ALL]
    outcome = command("predict", "cat.png", *prompts, "--out", "predict")
    assert outcome.code == 0, outcome.err
    assert names("predict") == OF_IMAGE | PER_OBJECT | OF_ALL
    assert {Path(line).relative_to("predict").as_posix() for line in outcome.out.splitlines()} == names("predict")
    outcome = command("batch", "cat.png", *prompts, "--out", "batch", "--model", "model.bin", "--workers", 1)
    assert outcome.code == 0, outcome.err
    assert names("batch") == OF_IMAGE | NUMBERED | OF_ALL
    wanted = ["--format", ALL, "--points-per-side", 8, "--max-masks", 2, "--out", "everything"]
    outcome = command("everything", "cat.png", *wanted)
    assert outcome.code == 0, outcome.err
    assert names("everything") == OF_IMAGE | NUMBERED | OF_ALL


def test_predict_and_batch_write_equal_bytes_for_the_same_prompts(command: Any, colors: Path) -> None:
    prompts = ["--prompts", "prompts.json", "--format", ALL]
    assert command("predict", "cat.png", *prompts, "--out", "predict").code == 0
    assert command("batch", "cat.png", *prompts, "--out", "batch", "--model", "model.bin", "--workers", 1).code == 0
    for name in OF_IMAGE | OF_ALL:
        if name != "cat-masks.csv":  # it names the files of the masks
            assert Path("predict", name).read_bytes() == Path("batch", name).read_bytes(), name
    for kind in ("mask", "cutout"):
        for number, suffix in ((1, ""), (2, "-2")):
            numbered = Path("batch", f"cat-{kind}s", f"00{number}.png").read_bytes()
            assert Path("predict", f"cat-{kind}{suffix}.png").read_bytes() == numbered
    (photo,) = formats.read_coco(Path("predict/coco.json"))
    assert (photo.file_name, [record["label"] for record in photo.records]) == ("cat.png", ["red", "blue"])
    assert '1: "blue"' in Path("predict/data.yaml").read_text()
    assert Path("predict/cat.txt").read_text().splitlines()[1].startswith("1 ")
    assert "cat-mask-2.png" in Path("predict/cat-masks.csv").read_text()


def test_json_says_the_same_about_a_mask_everywhere(command: Any, colors: Path) -> None:
    arguments = ["--format", "mask,coco", "--json"]
    predicted = json.loads(command("predict", "cat.png", *arguments, "--prompts", "prompts.json", "--out", "p").out)
    listed = json.loads(command("everything", "cat.png", *arguments, "--points-per-side", 8, "--out", "e").out)
    assert (predicted["version"], listed["version"]) == (2, 2)
    assert predicted["files"] == {"coco": [str(Path("p/coco.json"))]}
    assert not (keys(predicted) | keys(listed)) & {"picture", "pictures", "score", "scores"}
    (image,) = predicted["images"]
    masks = [mask for item in image["objects"] for mask in item["masks"]]
    assert [mask["files"]["mask"] for mask in masks] == image["files"]["mask"]
    masks += listed["images"][0]["masks"]
    for mask in masks:
        y, x = np.nonzero(formats.read_mask(Path(mask.pop("files")["mask"])))
        assert mask["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        assert set(mask) == {"area", "bbox", "predicted_iou", "stability_score", "confidence", "point_coords"}


def test_three_masks_of_an_object_are_in_files_of_several_masks(command: Any, colors: Path) -> None:
    arguments = ["--format", ALL, "--multimask", "--json", "--out", "out"]
    outcome = command("predict", "cat.png", "--prompts", "prompts.json", *arguments)
    assert outcome.code == 0, outcome.err
    (image,) = json.loads(outcome.out)["images"]
    assert [len(item["masks"]) for item in image["objects"]] == [3, 3]
    (photo,) = formats.read_coco(Path("out/coco.json"))
    assert [record["label"] for record in photo.records] == ["red"] * 3 + ["blue"] * 3
    assert {name for name in names("out") if "overlay" in name} == {
        *("cat-overlay.png", "cat-overlay-alt2.png", "cat-overlay-alt3.png")
    }
    assert image["files"]["mask"][:2] == [str(Path(f"out/cat-mask{rank}.png")) for rank in ("", "-alt2")]
    assert image["files"]["mask"][3] == str(Path("out/cat-mask-2.png"))


def test_no_file_is_written_twice_or_over_one_that_is_read(command: Any, colors: Path) -> None:
    shutil.copy("cat.png", "coco.png")
    for arguments in (["everything", "--points-per-side", 8], ["predict", "--point", "30,50"]):
        outcome = command(*arguments, "coco.png", "--format", "labelme,coco")
        assert outcome.code == 1
        assert "error: output file must be written once, got coco.json of two formats; rename the" in outcome.err
    shutil.copy("prompts.json", "cat.json")
    before = Path("cat.json").read_bytes()
    outcome = command("predict", "cat.png", "--prompts", "cat.json", "--format", "labelme", "--force")
    assert outcome.code == 1
    assert "error: output file must not be a file that is read, got cat.json;" in outcome.err
    assert Path("cat.json").read_bytes() == before
    shutil.copy("prompts.json", "coco.json")
    model = ["--model", "model.bin", "--workers", 1]
    outcome = command("batch", "cat.png", "--prompts", "coco.json", "--out", ".", "--force", *model)
    assert outcome.code == 1
    assert "error: output file must not be a file that is read, got coco.json;" in outcome.err
    assert Path("coco.json").read_bytes() == before


def test_files_of_the_version_before_are_read(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FormatLossWarning)
        formats.write_geojson(tmp_path / "new.geojson", PHOTO)
        formats.write_labelme(tmp_path / "new.json", PHOTO)
    document = json.loads((tmp_path / "new.geojson").read_text())
    assert (document.pop("version"), "picture" in document) == (2, False)
    document["picture"] = document.pop("image")
    (tmp_path / "old.geojson").write_text(json.dumps(document))
    new = (tmp_path / "new.json").read_text()
    assert '"description": "predicted_iou 0.9100"' in new
    (tmp_path / "old.json").write_text(new.replace("predicted_iou 0", "score 0"))
    assert formats.read_geojson(tmp_path / "old.geojson") == formats.read_geojson(tmp_path / "new.geojson")
    old, read = formats.read_labelme(tmp_path / "old.json"), formats.read_labelme(tmp_path / "new.json")
    assert [each["predicted_iou"] for each in old.records] == [each["predicted_iou"] for each in read.records]
    assert {each["predicted_iou"] for each in old.records} == {0.91}


def test_a_benchmark_of_the_version_before_is_compared() -> None:
    from mobilesam.bench.compare import differences

    assert differences({"picture_hw": [3, 4]}, {"image_hw": [3, 4]}) == []
    assert differences({"picture_hw": [3, 4]}, {"image_hw": [3, 5]}) == ["image_hw: [3, 4] -> [3, 5]"]


@pytest.fixture(scope="module")
def service(onnx_sam: Any) -> Iterator[Any]:
    pytest.importorskip("gradio", reason="Gradio is not installed: run make test")
    from mobilesam.serve.engine import Limits
    from mobilesam.serve.models import Choice, Models
    from mobilesam.webui.service import Service

    running = Service(Models({"onnx": Choice("ONNX", lambda: onnx_sam)}), Limits())
    yield running
    running.close()


@pytest.mark.weights
@pytest.mark.parametrize("prompt", [EYE_POINT, MIXED[0], MIXED[6]], ids=["point", "box", "refined"])
def test_predict_batch_and_page_write_equal_bytes(
    prompt: Any, command: Any, photo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Any
) -> None:
    from mobilesam.webui.saving import save
    from mobilesam.webui.session import read_prompt
    from mobilesam.webui.view import frozen_view

    monkeypatch.chdir(tmp_path)
    shutil.copy(photo("chelsea.png"), "chelsea.png")
    Path("p.json").write_text(dump(PromptFile({"chelsea.png": (prompt,)})))
    arguments = ["--prompts", "p.json", "--backend", "onnx", "--format", ",".join({*FORMATS} - {"csv"})]
    assert command("predict", "chelsea.png", *arguments, "--out", "predict").code == 0
    assert command("batch", "chelsea.png", *arguments, "--out", "batch", "--workers", 1).code == 0
    token = service.new_session()
    service.open(token, Path("chelsea.png").read_bytes(), "chelsea.png", lambda _: None).result()
    session = service.session(token)
    sent = page_prompt(prompt)
    frozen = frozen_view(service.freeze(session, read_prompt(sent, (300, 451)), clean=False))
    content = json.dumps({"objects": [frozen | {"prompt": sent}]}).encode()
    files = {
        "overlay": ("chelsea-overlay.png",),
        "mask": ("chelsea-mask.png", "chelsea-masks/001.png"),
        "cutout": ("chelsea-cutout.png", "chelsea-cutouts/001.png"),
        "indexed": ("chelsea-indexed.png",),
        "instances": ("chelsea-instances.png",),
        "coco": ("coco.json",),
        "yolo": ("chelsea.txt",),
        "geojson": ("chelsea.geojson",),
    }
    for kind, paths in files.items():
        page = save(service, session, kind, content).content
        assert Path("predict", paths[0]).read_bytes() == page, kind
        assert Path("batch", paths[-1]).read_bytes() == page, kind
    Path("page.parquet").write_bytes(save(service, session, "parquet", content).content)
    (page_record,), (record,) = (
        next(formats.read_parquet(Path(path))).records for path in ("page.parquet", "predict/masks.parquet")
    )
    scores = ("predicted_iou", "stability_score", "confidence")
    for name in page_record.keys() | record.keys():
        shown, written = page_record.get(name), record.get(name)
        expected = pytest.approx(written, abs=5.1e-5) if name in scores and written is not None else written
        assert shown == expected, f"{name}, of which the page has four decimals"
    (annotation,) = json.loads(Path("predict/coco.json").read_text())["annotations"]
    assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()


@pytest.mark.weights
def test_the_page_saves_every_format_of_segments(photo: Any, service: Any, tmp_path: Path) -> None:
    from mobilesam.webui.everything import Everything, everything_view
    from mobilesam.webui.saving import KINDS, save

    assert set(KINDS) == {*FORMATS, "prompts", "masks", "all"}
    token = service.new_session()
    service.open(token, photo("coins.png").read_bytes(), "coins.png", lambda _: None).result()
    listed = Everything(service).start(token, "fast", lambda *_: None).result()
    assert not keys(everything_view(listed)) & {"picture", "score"}
    session = listed.session
    content = json.dumps({"run": session.run, "selected": [2, 0]}).encode()
    saved = {kind: save(service, session, kind, content) for kind in FORMATS}
    for file in saved.values():
        (tmp_path / file.name).write_bytes(file.content)
    assert {file.name for file in saved.values()} == {
        *(f"coins.{kind}.png" for kind in ("overlay", "mask", "cutout", "indexed", "instances")),
        *("coins.coco.json", "coins.json", "coins.txt", "coins.csv", "coins.geojson", "coins.parquet"),
    }
    (coco,) = formats.read_coco(tmp_path / "coins.coco.json")
    assert [record["segmentation"] for record in next(formats.read_parquet(tmp_path / "coins.parquet")).records] == [
        record["segmentation"] for record in coco.records
    ]
    assert len(coco.records) == len((tmp_path / "coins.csv").read_text().splitlines()) - 1 == 2
    assert formats.read_labelme(tmp_path / "coins.json").file_name == "coins.png"
