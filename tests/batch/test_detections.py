"""The boxes of detectors as prompts of a batch: results lists, CSV tables, YOLO and labelme folders."""

from __future__ import annotations

import contextlib
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
    assert next(out.glob("cat*.csv")).read_text().splitlines()[1].endswith("cup,0.9,40,")
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
    assert "an image has no prompt: " in outcome.err
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
        ("names: [cup, 'a plate']  # classes\n", ["cup", "a plate"]),
        ("names:\n- cup\n- a plate\nnc: 2\n", ["cup", "a plate"]),
        ("names: {0: cup, 1: 'a, plate'}\n", ["cup", "a, plate"]),
        ("names: [cup,\n  it''s]\n", ["cup", "it''s"]),
        ("nc: 2\n", ["0", "1"]),
    ],
)
def test_the_names_of_yolo_classes(tmp_path: Path, names: str, expected: list[str]) -> None:
    folder = tmp_path / "labels/train"
    folder.mkdir(parents=True)
    write(tmp_path / "data.yaml", names)
    write(folder / "a.txt", "0 0.5 0.5 0.2 0.2\n\n1 0.1 0.1 0.3 0.1 0.3 0.4\n")
    no_names = pytest.warns(FormatLossWarning, match="the classes are called by their numbers")
    with no_names if expected == ["0", "1"] else contextlib.nullcontext():
        prompts = read_prompts_or_coco(tmp_path / "labels").images["a"]
    assert [prompt.label for prompt in prompts] == expected
    assert prompts[1].in_pixels((100, 200)).box == pytest.approx((20, 10, 60, 40))


@pytest.mark.parametrize(
    ("line", "box", "score", "number"),
    [
        ("0 .5 .5 .2 .2", (0.4, 0.4, 0.6, 0.6), None, None),
        ("0 .5 .5 .2 .2 .9", (0.4, 0.4, 0.6, 0.6), 0.9, None),
        ("0 .5 .5 .2 .2 .9 17", (0.4, 0.4, 0.6, 0.6), 0.9, "17"),
        ("0 .5 .5 .2 .2 17", (0.4, 0.4, 0.6, 0.6), None, "17"),
        ("0 .1 .1 .3 .1 .3 .4", (0.1, 0.1, 0.3, 0.4), None, None),
        ("0 .1 .1 .3 .1 .3 .4 .8", (0.1, 0.1, 0.3, 0.4), 0.8, None),
        ("0 .1 .1 .3 .1 .3 .4 .1 .4 .8", (0.1, 0.1, 0.3, 0.4), 0.8, None),
    ],
)
@pytest.mark.filterwarnings("ignore:there is no")
def test_the_lines_that_yolo_writes(tmp_path: Path, line: str, box: Any, score: Any, number: Any) -> None:
    write(tmp_path / "a.txt", line)
    (prompt,) = read_prompts_or_coco(tmp_path).images["a"]
    assert prompt.box == pytest.approx(box)
    assert (prompt.score, prompt.detection_id) == (score, number)


def test_labelme_rectangles_of_a_folder(tmp_path: Path) -> None:
    rectangle = {"label": "cup", "shape_type": "rectangle", "points": [[320, 440], [40, 80]], "group_id": 3}
    corners = {"label": "cup", "shape_type": "rectangle", "points": [[1, 2], [5, 2], [5, 9], [1, 9]]}
    parts = [
        {"label": "dog", "shape_type": "polygon", "points": [[x, 1], [x + 2, 1], [x, 5]], "group_id": 4} for x in (1, 9)
    ]
    shapes = [rectangle, {"shape_type": "point", "points": [[1, 1]]}, corners, *parts]
    write(tmp_path / "cat.json", {"shapes": shapes})
    with pytest.warns(FormatLossWarning, match="1 shapes that are neither rectangles nor polygons; they are left out"):
        prompts = read_prompts_or_coco(tmp_path).for_image("elsewhere/cat.jpg")
    assert [prompt.box for prompt in prompts] == [(40, 80, 320, 440), (1, 2, 5, 9), (1, 1, 11, 5)]
    assert [(prompt.label, prompt.detection_id) for prompt in prompts] == [("cup", 3), ("cup", None), ("dog", 4)]


@pytest.mark.parametrize(
    "text",
    [
        "image,x1,y1,x2,y2,label,score,id\ncat.png,40,80,320,440,cup,0.9,a7\n",
        "filename,xmin,ymin,xmax,ymax,confidence,class,name,id\ncat.png,40,80,320,440,0.9,0,cup,a7\n",
        "\ufeffImage,x,y,width,height,label,conf,id\ncat.png,40,80,280,360,cup,0.9,a7\n",
        "image;width;height;x;y;w;h;label;conf;id\ncat.png;1024;640;40;80;280;360;cup;0.9;a7\n",
        "path\tx1\ty1\tx2\ty2\tclass_id\tscore\tid\nphotos\\cat.png\t40\t80\t320\t440\tcup\t0.9\ta7\n",
    ],
)
def test_a_csv_table(tmp_path: Path, text: str) -> None:
    (prompt,) = read_prompts_or_coco(write(tmp_path / "boxes.csv", text)).for_image("photos/cat.png")
    assert (prompt.box, prompt.label, prompt.score, prompt.detection_id) == ((40, 80, 320, 440), "cup", 0.9, "a7")


def test_a_csv_table_of_shares(tmp_path: Path) -> None:
    text = "ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax\ncat,/m/01,0.5,0.25,0.5,0.5,1\n"
    (prompt,) = read_prompts_or_coco(write(tmp_path / "boxes.csv", text)).for_image("photos/cat.png")
    assert prompt.in_pixels((100, 200)).box == (50, 50, 100, 100)
    assert (prompt.label, prompt.score, prompt.detection_id) == ("/m/01", 0.5, 0)


def test_filters() -> None:
    from mobilesam.prompts.file import ObjectPrompt, Problem, PromptFile

    objects = tuple(
        ObjectPrompt(box=(0, 0, 1, 1), label=label, score=score)
        for label, score in zip("aab", (0.2, 0.8, None), strict=True)
    )
    prompts = PromptFile({"x": objects})
    assert [each.score for each in filtered(prompts, 0.5, None).images["x"]] == [0.8, None]
    assert [each.score for each in filtered(prompts, None, ["a"]).images["x"]] == [0.2, 0.8]
    with pytest.raises(InputError, match="each of labels must be one of a, b, got 'c'"):
        filtered(prompts, None, ["c"])
    with pytest.raises(InputError, match=r"None of the 3 objects is left with min_score 50 and labels a\."):
        filtered(prompts, 50, ["a"])
    problems = (Problem("The box has no area.", 0.1), Problem("The line is short."))
    assert filtered(PromptFile({"x": objects}, problems=problems), 0.5, None).problems == problems[1:]
    with pytest.raises(InputError, match="min_score must be a finite number, got nan"):
        filtered(prompts, float("nan"), None)


BAD = {
    "a box of three": (
        "r.json",
        [{"image_id": 1, "bbox": [1, 2, 3]}],
        r"r\.json\[0\]: bbox must be numbers \[x, y, width",
    ),
    "no list of detections": ("r.json", [], "prompts must name an image, got none"),
    "no object": ("r.json", [None], r"r\.json\[0\] must be an object with a bbox, got None"),
    "an odd name": ("r.json", [{"file_name": ["a"], "bbox": [1, 2, 3, 4]}], r"r\.json\[0\]: file_name must be text"),
    "a huge box": ("t.csv", "image,x1,y1,x2,y2\na,1,2,1e300,4\n", r"t\.csv line 2: the box must have a width"),
    "no YAML": ("data.yaml", "names: [", r"data\.yaml must be YAML"),
    "odd YAML": ("data.yaml", "names: 3", r"data\.yaml: names must be a list or a mapping from numbers, got 3"),
    "NaN": ("r.json", '[{"image_id": 1, "bbox": [1, 2, NaN, 4]}]', "must be numbers|cannot be read"),
    "a negative size": ("r.json", [{"image_id": 1, "bbox": [9, 9, -3, 4]}], r"r\.json\[0\]: the box must have a width"),
    "half a character": (
        "r.json",
        [{"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": "\ud800"}],
        "label must be text",
    ),
    "no box at first": ("r.json", [{"image_id": 1}], r"r\.json\[0\]: bbox must be numbers"),
    "no name in a table": ("t.csv", "image,x1,y1,x2,y2\n\n,1,2,3,4\n", r"t\.csv line 3: image must name an image"),
    "half a class": ("a.txt", "1.5 0.1 0.2 0.1 0.1\n", r"line 1: the class must be a whole number from 0, got 1\.5"),
    "no image": ("r.json", [{"bbox": [1, 2, 3, 4]}], r"r\.json\[0\]: image_id must be a number or text, got None"),
    "a score of text": ("r.json", [{"image_id": 1, "bbox": [1, 2, 3, 4], "score": "x"}], "the score must be a number"),
    "a label of lists": (
        "r.json",
        [{"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": []}],
        "the label must be text",
    ),
    "other columns": ("t.csv", "a,b\n1,2\n", r"t\.csv must have a column image or file_name, and columns"),
    "a word in a table": ("t.csv", "image,x1,y1,x2,y2\na,1,2,x,4\n", r"t\.csv line 2: x2 must be a number, got 'x'"),
    "a short line": ("t.csv", "image,x1,y1,x2,y2\na,1\n", r"t\.csv line 2: y1 must be a number, got None"),
    "Latin 1": ("t.csv", b"image,x1,y1,x2,y2\n\xe9,1,2,3,4\n", r"the table .*t\.csv must be CSV in UTF-8"),
    "pixels in YOLO": ("a.txt", "0 320 240 20 20\n", r"a\.txt line 1 must have coordinates in 0..1"),
    "a short YOLO line": (
        "a.txt",
        "0 0.1 0.2\n",
        r"a\.txt line 1 must have a class, x, y, width and height, or a polygon, got 3 fields",
    ),
    "another JSON": ("a.json", {"version": 3}, r"a\.json must be labelme's JSON, got no list 'shapes'"),
    "one point": (
        "a.json",
        {"shapes": [{"shape_type": "rectangle", "points": [[1, 2]]}]},
        r"shapes\[0\]\.points must be two or more",
    ),
}


@pytest.mark.filterwarnings("ignore:there is no")
@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_with_the_place(tmp_path: Path, name: str, content: Any, message: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        write(tmp_path / name, content)
    if name == "data.yaml":
        write(tmp_path / "a.txt", "0 .5 .5 .2 .2")
    in_folder = name.startswith(("a.", "data"))
    with pytest.raises(InputError, match=message):
        read_prompts_or_coco(tmp_path if in_folder else tmp_path / name)


def test_a_bad_entry_is_left_out_and_the_others_are_segmented(command: Any, folder: Path) -> None:
    cat = entries(file_name="cat.png")
    bad = {"file_name": "cat.png", "bbox": [1, 2, 3], "score": 0.7}
    narrow = {"file_name": "cat.png", "bbox": [1, 2, 0, 4], "score": 0.01}
    absent, nameless = {"file_name": "absent.png", "bbox": [1, 2, 3, 4]}, {"file_name": None, "bbox": [1, 2, 3, 4]}
    far = {"file_name": "cat.png", "bbox": [1024, 10, 30, 40]}
    results = write(folder / "results.json", [*cat, bad, absent, nameless, far, narrow])
    outcome = run(command, folder, results, "--min-score", 0.1)
    assert outcome.code == 1
    assert "1 image done, 0 bad\nerror: " in outcome.err
    sentences = (
        "results.json[2]: bbox must be numbers [x, y, width, height], got [1, 2, 3]; correct the entry",
        "results.json names an image that is not among the images given: 'absent.png'.",
        "results.json[4]: image_id must be a number or text, got None; add image_id or file_name",
        "results.json[5]: the box must overlap the image, 1024 wide and 640 high, got x1 1024, y1 10, x2 1054",
    )
    for sentence in sentences:
        assert sentence in outcome.err
    assert outcome.err.count("error: ") == 4
    (masks,) = formats.read_coco(folder / "out/coco.json")
    assert (masks.file_name, len(masks.records)) == ("cat.png", 2)
    outcome = run(command, folder, results, "--min-score", 0.1, "--resume", "--json")
    assert outcome.code == 1
    problems = json.loads(outcome.out)["problems"]
    assert all(any(sentence in problem for problem in problems) for sentence in sentences)
    write(folder / "results.json", [*cat, absent])
    outcome = run(command, folder, results, "--force", "--strict")
    assert outcome.code == 1
    assert "Stopped at the first problem." in outcome.err
    write(folder / "results.json", [*cat, far])
    outcome = run(command, folder, results, "--force", "--strict")
    assert outcome.code == 1
    assert "Stopped at the first problem." in outcome.err
    assert command("batch", folder / "photos/cat.png", "--prompts", write(folder / "results.json", [*cat, absent]),
                   "--out", folder / "one", "--model", folder / "model.bin").code == 0  # fmt: skip


def test_corrected_prompts_are_segmented_on_resume(command: Any, folder: Path) -> None:
    cat, other = entries(file_name="cat.png"), entries(file_name="000000000007.png")
    results = write(folder / "results.json", [*cat, *other, {"file_name": "cat.png", "bbox": [1, 2, 3]}])
    assert run(command, folder, results).code == 1
    write(folder / "results.json", [*cat, *other, {"file_name": "cat.png", "bbox": [400, 120, 320, 240]}])
    outcome = run(command, folder, results, "--resume")
    assert outcome.code == 0, outcome.err
    assert "images with other prompts: 1; they are processed again" in outcome.err
    assert [len(masks.records) for masks in formats.read_coco(folder / "out/coco.json")] == [2, 3]
    before = (folder / "out/coco.json").read_bytes()
    assert run(command, folder, results, "--force").code == 0
    assert (folder / "out/coco.json").read_bytes() == before


def test_ids_of_the_dataset_are_kept(command: Any, folder: Path) -> None:
    images = [{"id": 139, "file_name": "cat.png"}, {"id": 285, "file_name": "000000000007.png"}]
    categories = [{"id": 17, "name": "cup"}, {"id": 47, "name": "plate"}]
    dataset = write(folder / "dataset.json", {"images": images, "categories": categories})
    detections = [
        {"image_id": "285", "category_id": 47.0, "bbox": [40, 80, 280, 360], "score": 0.9},
        {"image_id": 139, "category_id": 17, "bbox": [-50, -60, 370, 500], "score": 0.8, "id": 3.0},
        {"image_id": 139, "category_id": 5, "bbox": [40, 80, 280, 360], "score": 0.8},
    ]
    outcome = run(command, folder, write(folder / "results.json", detections), "--dataset", dataset)
    assert outcome.code == 1
    assert "results.json[2]: category_id must be a category of the dataset, got 5" in outcome.err
    coco = json.loads((folder / "out/coco.json").read_text())
    assert {image["file_name"]: image["id"] for image in coco["images"]} == {"cat.png": 139, "000000000007.png": 285}
    assert {each["name"]: each["id"] for each in coco["categories"]} == {"cup": 17, "plate": 47}
    seen = [(each["image_id"], each["category_id"], each["detection_id"]) for each in coco["annotations"]]
    assert sorted(seen, key=str) == [(139, 17, "3"), (285, 47, 0)]
    assert all("predicted_iou" in each for each in coco["annotations"])
    rows = {each["image_id"]: each for each in coco["annotations"]}
    assert rows[139]["bbox"] == pytest.approx([40, 80, 280, 360], abs=2), "the box is cut at the edges of the image"


def test_files_that_are_read_are_not_overwritten(command: Any, folder: Path) -> None:
    labels = folder / "out"
    labels.mkdir()
    write(labels / "cat.txt", "0 0.5 0.5 0.2 0.2\n")
    write(labels / "data.yaml", "names: [cup]\n")
    outcome = run(command, folder, labels, "--force")
    assert outcome.code == 1
    assert "output file must not be a file that is read, got" in outcome.err
    assert (labels / "cat.txt").read_text() == "0 0.5 0.5 0.2 0.2\n"
    write(labels / "coco.json", DATASET)
    results = write(folder / "results.json", entries(image_id=7))
    outcome = run(command, folder, results, "--dataset", labels / "coco.json", "--force")
    assert outcome.code == 1
    assert json.loads((labels / "coco.json").read_text()) == DATASET


def test_the_numbers_of_yolo_classes_are_kept(command: Any, folder: Path) -> None:
    labels = folder / "labels"
    labels.mkdir()
    write(labels / "cat.txt", "2 0.18 0.4 0.27 0.56\n")
    write(labels / "classes.txt", "cup\n\nplate\n")
    assert run(command, folder, labels).code == 0
    assert (folder / "out/cat.txt").read_text().split()[0] == "2"
    assert '2: "plate"' in (folder / "out/data.yaml").read_text()


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
    with pytest.raises(InputError, match=r"r\.json\[0\]: image_id must be an image of the dataset, got 99"):
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
