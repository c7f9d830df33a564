"""The boxes of detectors as prompts of a batch: results lists, CSV tables, YOLO and labelme folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mobilesam import formats
from mobilesam.batch import read_prompts_or_coco
from mobilesam.errors import FormatLossWarning, InputError
from mobilesam.formats.detections import filtered
from tests.automatic.color_model import ColorModel, squares

BOXES = [(40, 80, 320, 440), (400, 120, 720, 360)]
HW = (640, 1024)  # of the model's own size, so that no edge is blurred
FORMATS = "coco,csv,geojson,labelme,parquet,yolo"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two images of two squares, and a model without weights."""
    monkeypatch.setattr("mobilesam.loading.load", lambda *_, **__: ColorModel())
    (tmp_path / "photos").mkdir()
    for name in ("000000000007.png", "cat.png"):
        Image.fromarray(squares(HW, BOXES)).save(tmp_path / "photos" / name)
    (tmp_path / "model.bin").write_bytes(b"weights")
    return tmp_path


def entries(**image: Any) -> list[dict[str, Any]]:
    """Return detections of both squares as in a results list."""
    return [
        {**image, "category_id": number + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score, "id": 40 + number}
        for number, ((x1, y1, x2, y2), score) in enumerate(zip(BOXES, (0.9, 0.4), strict=True))
    ]


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def run(command: Any, folder: Path, prompts: Path, *options: Any) -> Any:
    where = ["--out", folder / "out", "--model", folder / "model.bin", "--workers", 1, "--format", FORMATS]
    return command("batch", folder / "photos", "--prompts", prompts, *where, *options)


DATASET = {
    "images": [{"id": "x", "file_name": "cat.png"}, {"id": 7, "file_name": "000000000007.png"}],
    "annotations": [],
    "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "plate"}],
}


def test_labels_scores_and_ids_are_in_every_format(command: Any, folder: Path) -> None:
    results = write(folder / "results.json", entries(image_id="x"))
    dataset = write(folder / "dataset.json", DATASET)
    outcome = run(command, folder, results, "--dataset", dataset)
    assert outcome.code == 0, outcome.err
    out = folder / "out"
    coco = COCO(out / "coco.json")
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    seen = [(names[each["category_id"]], each["score"], each["detection_id"]) for each in coco.anns.values()]
    assert seen == [("cup", 0.9, 40), ("plate", 0.4, 41)]
    assert all(0 <= each["predicted_iou"] <= 1 for each in coco.anns.values())
    rows = pyarrow.parquet.read_table(out / "masks.parquet").to_pylist()
    assert [(row["label"], row["score"], row["detection_id"]) for row in rows if row["mask_id"]] == [
        ("cup", 0.9, "40"),
        ("plate", 0.4, "41"),
    ]
    shapes = json.loads((out / "cat.json").read_text())["shapes"]
    assert [shape["label"] for shape in shapes] == ["cup", "plate"]
    assert shapes[0]["description"].splitlines()[1:] == ["score 0.9000", "detection_id 40"]
    assert [line.split()[0] for line in (out / "cat.txt").read_text().splitlines()] == ["0", "1"]
    assert '0: "cup"' in (out / "data.yaml").read_text()
    assert next(out.glob("cat*.csv")).read_text().splitlines()[1].endswith("cup,0.9,40")
    features = json.loads((out / "cat.geojson").read_text())["features"]
    assert [feature["properties"]["detection_id"] for feature in features] == [40, 41]
    for image in (
        next(each for each in formats.read_coco(out / "coco.json") if each.records),
        formats.read_labelme(out / "cat.json"),
        formats.read_geojson(out / "cat.geojson"),
    ):
        assert [(each["label"], each["score"], str(each["detection_id"])) for each in image.records] == [
            ("cup", 0.9, "40"),
            ("plate", 0.4, "41"),
        ]


@pytest.mark.parametrize(
    "image", [{"image_id": 7}, {"image_id": 7.0}, {"file_name": "000000000007.png"}], ids=["id", "float", "name"]
)
def test_an_image_is_found_by_its_name_or_by_its_id(command: Any, folder: Path, image: dict[str, Any]) -> None:
    outcome = run(command, folder, write(folder / "results.json", entries(**image)), "--min-score", 0.5)
    assert outcome.code == 0, outcome.err
    assert "1 images have no prompt" in outcome.err
    (masks,) = formats.read_coco(folder / "out/coco.json")
    assert masks.file_name == "000000000007.png"
    assert [record["label"] for record in masks.records] == ["1"]


def test_yolo_boxes_of_a_folder(command: Any, folder: Path) -> None:
    labels = folder / "labels"
    labels.mkdir()
    lines = []
    for number, (x1, y1, x2, y2) in enumerate(BOXES):
        center = (x1 + x2) / 2 / HW[1], (y1 + y2) / 2 / HW[0]
        lines.append(f"{number} {center[0]} {center[1]} {(x2 - x1) / HW[1]} {(y2 - y1) / HW[0]} 0.{8 - number}")
    write(labels / "cat.txt", "\n".join(lines))
    write(folder / "data.yaml", 'path: .\nnames:\n  0: cup  # small\n  1: "a plate"\n')
    assert run(command, folder, labels, "--labels", "a plate").code == 0
    (masks,) = formats.read_coco(folder / "out/coco.json")
    (record,) = masks.records
    assert (record["label"], record["score"]) == ("a plate", 0.7)
    assert record["bbox"] == pytest.approx([400, 120, 319, 239], abs=2)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: [cup, 'a plate']\n", ["cup", "a plate"]),
        ("names:\n- cup\n- a plate\nnc: 2\n", ["cup", "a plate"]),
        ("nc: 2\n", ["0", "1"]),
    ],
)
def test_the_names_of_yolo_classes(tmp_path: Path, names: str, expected: list[str]) -> None:
    write(tmp_path / "data.yaml", names)
    write(tmp_path / "a.txt", "0 0.5 0.5 0.2 0.2\n\n1 0.1 0.1 0.3 0.1 0.3 0.4\n")
    prompts = read_prompts_or_coco(tmp_path).images["a"]
    assert [prompt.label for prompt in prompts] == expected
    assert prompts[1].in_pixels((100, 200)).box == pytest.approx((20, 10, 60, 40))


def test_labelme_rectangles_of_a_folder(tmp_path: Path) -> None:
    rectangle = {"label": "cup", "shape_type": "rectangle", "points": [[320, 440], [40, 80]], "group_id": 3}
    write(tmp_path / "cat.json", {"shapes": [rectangle, {"shape_type": "point", "points": [[1, 1]]}]})
    with pytest.warns(FormatLossWarning, match="1 shapes that are no rectangles; they are left out"):
        (prompt,) = read_prompts_or_coco(tmp_path).for_image("elsewhere/cat.jpg")
    assert (prompt.box, prompt.label, prompt.detection_id) == ((40, 80, 320, 440), "cup", 3)


@pytest.mark.parametrize(
    "text",
    [
        "image,x1,y1,x2,y2,label,score,id\ncat.png,40,80,320,440,cup,0.9,a7\n",
        "filename,xmin,ymin,xmax,ymax,confidence,class,name,id\ncat.png,40,80,320,440,0.9,0,cup,a7\n",
        "\ufeffImage;x;y;width;height".replace(";", ",") + ",label,conf,id\ncat.png,40,80,280,360,cup,0.9,a7\n",
    ],
)
def test_a_csv_table(tmp_path: Path, text: str) -> None:
    (prompt,) = read_prompts_or_coco(write(tmp_path / "boxes.csv", text)).for_image("photos/cat.png")
    assert (prompt.box, prompt.label, prompt.score, prompt.detection_id) == ((40, 80, 320, 440), "cup", 0.9, "a7")


def test_filters() -> None:
    from mobilesam.prompts.file import ObjectPrompt, PromptFile

    objects = tuple(
        ObjectPrompt(box=(0, 0, 1, 1), label=label, score=score)
        for label, score in zip("aab", (0.2, 0.8, None), strict=True)
    )
    prompts = PromptFile({"x": objects})
    assert [each.score for each in filtered(prompts, 0.5, None).images["x"]] == [0.8, None]
    assert [each.score for each in filtered(prompts, None, ["a"]).images["x"]] == [0.2, 0.8]
    with pytest.raises(InputError, match="each of labels must be one of a, b, got 'c'"):
        filtered(prompts, None, ["c"])
    with pytest.raises(InputError, match="min_score must be a finite number, got nan"):
        filtered(prompts, float("nan"), None)


BAD = {
    "a box of three": (
        "r.json",
        [{"image_id": 1, "bbox": [1, 2, 3]}],
        r"r\.json\[0\]\.bbox must be numbers \[x, y, width",
    ),
    "no box later": ("r.json", [*entries(image_id=1), {"image_id": 1}], r"r\.json\[2\]\.bbox must be numbers"),
    "NaN": ("r.json", '[{"image_id": 1, "bbox": [1, 2, NaN, 4]}]', "must be numbers|cannot be read"),
    "a negative size": ("r.json", [{"image_id": 1, "bbox": [9, 9, -3, 4]}], r"r\.json\[0\]: the box must have a width"),
    "half a character": (
        "r.json",
        [{"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": "\ud800"}],
        "label must be text",
    ),
    "no box at first": ("r.json", [{"image_id": 1}], r"r\.json\[0\]\.bbox must be numbers"),
    "no name in a table": ("t.csv", "image,x1,y1,x2,y2\n\n,1,2,3,4\n", r"t\.csv line 3: image must name an image"),
    "half a class": ("a.txt", "1.5 0.1 0.2 0.1 0.1\n", r"line 1: the class must be a whole number from 0, got 1\.5"),
    "no image": ("r.json", [{"bbox": [1, 2, 3, 4]}], r"r\.json\[0\]\.image_id must be a number or text, got None"),
    "a score of text": ("r.json", [{"image_id": 1, "bbox": [1, 2, 3, 4], "score": "x"}], "the score must be a number"),
    "a label of lists": (
        "r.json",
        [{"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": []}],
        "the label must be text",
    ),
    "other columns": ("t.csv", "a,b\n1,2\n", r"t\.csv must have a column image or file_name, and columns"),
    "an empty table": ("t.csv", "", "must have a column image or file_name, .*got no header"),
    "a word in a table": ("t.csv", "image,x1,y1,x2,y2\na,1,2,x,4\n", r"t\.csv line 2: x2 must be a number, got 'x'"),
    "a short line": ("t.csv", "image,x1,y1,x2,y2\na,1\n", r"t\.csv line 2: y1 must be a number, got None"),
    "Latin 1": ("t.csv", b"image,x1,y1,x2,y2\n\xe9,1,2,3,4\n", r"the table .*t\.csv must be CSV in UTF-8"),
    "pixels in YOLO": ("a.txt", "0 320 240 20 20\n", r"a\.txt line 1 must have coordinates in 0..1"),
    "a short YOLO line": (
        "a.txt",
        "0 0.1 0.2\n",
        r"a\.txt line 1 must have a class, x, y, width and height, got 3 fields",
    ),
    "another JSON": ("a.json", {"version": 3}, r"a\.json must be labelme's JSON, got no list 'shapes'"),
    "one point": (
        "a.json",
        {"shapes": [{"shape_type": "rectangle", "points": [[1, 2]]}]},
        r"shapes\[0\]\.points must be two",
    ),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_with_the_place(tmp_path: Path, name: str, content: Any, message: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        write(tmp_path / name, content)
    in_folder = name.startswith("a.")
    with pytest.raises(InputError, match=message):
        read_prompts_or_coco(tmp_path if in_folder else tmp_path / name)


def test_a_bad_entry_is_a_bad_image_and_the_others_are_segmented(command: Any, folder: Path) -> None:
    cat, other = entries(file_name="cat.png"), {"file_name": "000000000007.png", "bbox": [1, 2, 3]}
    gone, nameless = {"file_name": "gone.png", "bbox": [1, 2, 3, 4]}, {"image_id": 7, "bbox": [1, 2, 3, 4]}
    results = write(folder / "results.json", [*cat, other, gone, nameless])
    outcome = run(command, folder, results)
    assert outcome.code == 1
    assert f"1 image done, 3 bad\nerror: {folder / 'photos/000000000007.png'}: " in outcome.err
    for sentence in (
        "results.json[2].bbox must be numbers [x, y, width, height], got [1, 2, 3]; correct the entry",
        "error: gone.png: The prompts name this image, and it is not among the images given.",
        "results.json[4].file_name must be in all entries or in none, got no such key; add it",
    ):
        assert sentence in outcome.err
    (masks,) = formats.read_coco(folder / "out/coco.json")
    assert (masks.file_name, len(masks.records)) == ("cat.png", 2)
    outcome = run(command, folder, results, "--resume")
    assert (outcome.code, outcome.err.count("error: ")) == (1, 3)
    write(folder / "results.json", [*cat, gone])
    outcome = run(command, folder, results, "--force", "--strict")
    assert outcome.code == 1
    assert "Stopped at the first bad image. gone.png: The prompts name this image" in outcome.err


def test_a_bad_file_of_a_folder_is_a_bad_image(command: Any, folder: Path) -> None:
    labels = folder / "labels"
    labels.mkdir()
    write(labels / "cat.txt", "0 0.5 0.5 0.2 0.2\n")
    write(labels / "000000000007.txt", "0 0.5 0.5 0.2 0.2\n0 0.5 0.5\n")
    outcome = run(command, folder, labels)
    assert outcome.code == 1
    assert "000000000007.txt line 2 must have a class, x, y, width and height, got 3 fields" in outcome.err
    assert [masks.file_name for masks in formats.read_coco(folder / "out/coco.json")] == ["cat.png"]


def test_a_box_outside_its_image_is_an_error_that_names_the_entry(command: Any, folder: Path) -> None:
    far = {"file_name": "cat.png", "bbox": [1024, 10, 30, 40]}
    results = write(folder / "results.json", [*entries(file_name="000000000007.png"), far])
    outcome = run(command, folder, results)
    assert outcome.code == 1
    requirement = "results.json[2]: the box must overlap the image, 1024 wide and 640 high, got x1 1024, y1 10, x2 1054"
    assert requirement in outcome.err
    assert [len(masks.records) for masks in formats.read_coco(folder / "out/coco.json")] == [2]


def test_images_of_one_name_in_the_prompts_have_different_names_in_the_results(command: Any, folder: Path) -> None:
    (folder / "photos/b").mkdir()
    (folder / "photos/cat.png").rename(folder / "photos/b/cat.png")
    (folder / "photos/a").mkdir()
    (folder / "photos/000000000007.png").rename(folder / "photos/a/cat.png")
    outcome = run(command, folder, write(folder / "results.json", entries(file_name="cat.png")))
    assert outcome.code == 0, outcome.err
    assert [masks.file_name for masks in formats.read_coco(folder / "out/coco.json")] == ["a/cat.png", "b/cat.png"]


def test_a_folder_of_neither_kind_and_a_dataset_that_does_not_fit(command: Any, folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"prompts must be a folder of YOLO's .txt or labelme's .json files, got .*neither"
    ):
        read_prompts_or_coco(folder)
    results, dataset = write(folder / "r.json", entries(image_id=99)), write(folder / "d.json", DATASET)
    with pytest.raises(InputError, match=r"r\.json\[0\]\.image_id must be an image of the dataset, got 99"):
        read_prompts_or_coco(results, dataset)
    with pytest.raises(InputError, match="--dataset must be used with a COCO results list"):
        read_prompts_or_coco(dataset, dataset)
    assert command("batch", folder / "photos", "--everything", "--min-score", 1, "--out", folder / "o").code == 2


def test_a_label_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    prompts = {"version": 1, "objects": [{"box": [1, 2, 30, 40], "label": "\ud800"}]}
    with pytest.raises(InputError, match=r"p\.json: objects\[0\]\.label must be text"):
        read_prompts_or_coco(write(tmp_path / "p.json", prompts))
    annotation = {"id": 5, "image_id": 7, "category_id": 1, "bbox": [1, 2, 30, 40]}
    content = DATASET | {"annotations": [annotation], "categories": [{"id": 1, "name": "\ud800"}]}
    with pytest.raises(InputError, match=r"annotation 5 of c\.json: the label must be text or a number"):
        read_prompts_or_coco(write(tmp_path / "c.json", content))
