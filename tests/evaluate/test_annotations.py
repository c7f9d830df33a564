"""Annotated images in every format, as files, folders and datasets have them."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image

from mobilesam import formats
from mobilesam.errors import FormatLossWarning, InputError
from mobilesam.evaluate import Dataset, load_annotations
from mobilesam.evaluate.coco import read_instances
from mobilesam.formats.masked_image import MaskedImage
from mobilesam.image.read import read_image, read_image_hw
from tests.evaluate.scenes import compressed, disc, polygons, write_coco
from tests.formats.scenes import record

HW = (60, 80)
FIRST, SECOND, THIRD = disc(HW, (20, 20), 12), disc(HW, (60, 40), 9), disc(HW, (40, 30), 6)
MASKS = {"a": [FIRST, SECOND], "b": [THIRD]}
Masks = dict[str, list[npt.NDArray[np.bool_]]]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two images."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(folder / "a.png")
    Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(folder / "b.jpg")
    return folder


def masked(stem: str, name: str | None = None) -> MaskedImage:
    label = {"a": ["cat", "dog"], "b": ["dog"]}[stem]
    records = [record(mask, each) for mask, each in zip(MASKS[stem], label, strict=True)]
    return MaskedImage(name or {"a": "a.png", "b": "b.jpg"}[stem], HW, records)


def masks_of(dataset: Dataset) -> Masks:
    """Return the masks of each image by its name, and check that all can be used."""
    masks = {}
    for image in dataset.images:
        instances, skipped = read_instances(image, HW, dataset.categories)
        assert not skipped
        assert all(isinstance(each["segmentation"], dict | list) for each in image.annotations)
        masks[image.file_name] = [instance.mask for instance in instances]
    return masks


def categories_of(dataset: Dataset) -> list[str]:
    return [
        instance.category for image in dataset.images for instance in read_instances(image, HW, dataset.categories)[0]
    ]


def expect_both(dataset: Dataset) -> None:
    assert dataset.problems == ()
    assert {name: len(masks) for name, masks in masks_of(dataset).items()} == {"a.png": 2, "b.jpg": 1}
    for stem, result in zip("ab", masks_of(dataset).values(), strict=True):
        np.testing.assert_array_equal(result, MASKS[stem])
    assert [image.stated_hw for image in dataset.images] == [HW, HW]
    assert all(image.path.is_file() for image in dataset.images)


def write_labels(folder: Path, stem: str) -> None:
    formats.write_yolo(folder / f"{stem}.txt", masked(stem).records, ["cat", "dog"])


WRITERS: dict[str, Callable[[Path, str], object]] = {
    "labelme": lambda folder, stem: formats.write_labelme(folder / f"{stem}.json", masked(stem)),
    "geojson": lambda folder, stem: formats.write_geojson(folder / f"{stem}.geojson", masked(stem)),
    "yolo": write_labels,
    "indexed": lambda folder, stem: formats.write_indexed(folder / f"{stem}-indexed.png", masked(stem)),
    "instances": lambda folder, stem: formats.write_instances(folder / f"{stem}-instances.png", masked(stem)),
    "page's indexed": lambda folder, stem: formats.write_indexed(folder / f"{stem}.indexed.png", masked(stem)),
    "plain map": lambda folder, stem: formats.write_instances(folder / f"{stem}.png", masked(stem)),
    "page's coco": lambda folder, stem: formats.write_coco(folder / f"{stem}.coco.json", [masked(stem)]),
}


def written(folder: Path, kind: str, stems: str = "ab") -> Path:
    """Write the annotations of both images in a format."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        WRITERS[kind](folder, stem)
    if kind == "yolo":
        formats.write_yolo_names(folder / "data.yaml", ["cat", "dog"])
    return folder


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_of_any_format_gives_the_masks_that_were_written(tmp_path: Path, images: Path, kind: str) -> None:
    dataset = load_annotations(written(tmp_path / "labels", kind), images)
    expect_both(dataset)
    if kind not in ("indexed", "instances", "page's indexed", "plain map"):
        assert categories_of(dataset) == ["cat", "dog", "dog"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_single_file_is_enough(tmp_path: Path, images: Path, kind: str) -> None:
    folder = written(tmp_path / "labels", kind, "a")
    (path,) = (path for path in folder.iterdir() if path.name != "data.yaml")
    (image,) = load_annotations(path, images).images
    assert image.file_name == "a.png"
    assert [instance.mask.sum() for instance in read_instances(image, HW, {})[0]] == [FIRST.sum(), SECOND.sum()]


def test_coco_and_parquet_hold_all_images(tmp_path: Path, images: Path) -> None:
    formats.write_coco(tmp_path / "run/coco.json", [masked("a"), masked("b")])
    formats.write_parquet(tmp_path / "tables/masks.parquet", [masked("b"), masked("a", "photos/a.png")])
    for path in ("run/coco.json", "run", "tables/masks.parquet", "tables"):
        dataset = load_annotations(tmp_path / path, images)
        expect_both(dataset)
        assert categories_of(dataset) == ["cat", "dog", "dog"]


def test_a_subset_is_chosen_as_of_coco(tmp_path: Path, images: Path) -> None:
    folder = written(tmp_path / "labels", "labelme")
    assert [image.file_name for image in load_annotations(folder, images, split="odd").images] == ["b.jpg"]
    assert [image.file_name for image in load_annotations(folder, images, limit=1).images] == ["a.png"]


# Names of images ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["..\\images\\a.png", "C:\\photos\\a.png", "/home/me/a.png", "../x/a.png", "other.jpg"]
)
def test_the_image_of_labelme_is_looked_for_by_name_and_then_by_the_stem(
    tmp_path: Path, images: Path, name: str
) -> None:
    folder = written(tmp_path / "labels", "labelme", "a")
    content = json.loads((folder / "a.json").read_text())
    (folder / "a.json").write_text(json.dumps(content | {"imagePath": name}))
    assert [image.path for image in load_annotations(folder, images).images] == [images / "a.png"]


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, images: Path) -> None:
    for kind in ("labelme", "yolo", "indexed"):
        for below in ("", "sub", "sub/deep"):
            (images / below).mkdir(exist_ok=True)
            Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(images / below / "a.png")
            written(tmp_path / kind / below, kind, "a")
        dataset = load_annotations(tmp_path / kind, images)
        assert [image.file_name for image in dataset.images] == ["a.png", "sub/a.png", "sub/deep/a.png"]
        assert dataset.problems == ()
    (tmp_path / "labelme/sub/a.json").rename(tmp_path / "labelme/a2.json")
    content = json.loads((tmp_path / "labelme/a2.json").read_text())
    (tmp_path / "labelme/a2.json").write_text(json.dumps(content | {"imagePath": "elsewhere/a.png"}))
    (problem,) = load_annotations(tmp_path / "labelme", images).problems
    assert problem.file == "a2.json"
    assert problem.reason == (
        "the image of a2.json must be one file, got 3: a.png and sub/a.png; give the folder of these images alone"
    )


@pytest.mark.parametrize("given", ["", "data.yaml", "labels", "labels/val"])
def test_the_layout_of_ultralytics(tmp_path: Path, given: str) -> None:
    root = tmp_path / "set"
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
        Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(root / "images" / split / "a.png")
        written(root / "labels" / split, "yolo", "a")
        (root / "labels" / split / "data.yaml").unlink()
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n")
    (root / "train.txt").write_text("./images/train/a.png\n")
    dataset = load_annotations(root / given, root / "images/val")
    assert [(image.file_name, len(image.annotations)) for image in dataset.images] == [("a.png", 2)]
    assert dataset.images[0].path == root / "images/val/a.png"
    assert [problem.file for problem in dataset.problems] == {
        "labels": ["train/a.txt"],
        "labels/val": [],
    }.get(given, ["labels/train/a.txt"])
    assert categories_of(dataset) == ["cat", "dog"]
    if given != "labels/val":
        both = load_annotations(root / given, root / "images")
        assert [image.file_name for image in both.images] == ["train/a.png", "val/a.png"]
        assert both.problems == ()


def test_the_names_of_yolos_classes(tmp_path: Path, images: Path) -> None:
    folder = written(tmp_path / "labels", "yolo")
    (folder / "data.yaml").unlink()
    with pytest.warns(FormatLossWarning, match="the classes are called by their numbers"):
        assert categories_of(load_annotations(folder, images)) == ["0", "1", "1"]
    (tmp_path / "classes.txt").write_text("Katze\nHund\n")
    dataset = load_annotations(folder, images)
    assert categories_of(dataset) == ["Katze", "Hund", "Hund"]
    (tmp_path / "mine.yaml").write_text("names: [chat, chien]\n")
    (tmp_path / "labels").rename(tmp_path / "text")
    assert categories_of(load_annotations(tmp_path / "mine.yaml", images)) == ["chat", "chien", "chien"]


def test_maps_beside_their_images(images: Path) -> None:
    formats.write_indexed(images / "b.png", masked("b"))
    assert [image.file_name for image in load_annotations(images, images).images] == ["b.jpg"]
    Image.new("L", HW[::-1]).save(images / "b.jpeg")
    with pytest.raises(InputError, match=r"b\.png: the image of b\.png must be one file, got 2: b\.jpeg and b\.jpg"):
        load_annotations(images, images)


def test_gray_images_are_not_taken_for_maps(tmp_path: Path) -> None:
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
        formats.write_instances(tmp_path / folder / "a.png", masked("a"))
    expected = r"masks/a\.png: a\.png and its image are both gray. Give the folder of the images alone. 1 more files"
    with pytest.raises(InputError, match=expected):
        load_annotations(tmp_path, tmp_path)
    assert len(load_annotations(tmp_path / "masks", tmp_path / "photos").images) == 1


# Problems -------------------------------------------------------------------------------------------------------------


def problems_of(folder: Path, images: Path) -> dict[str, str]:
    dataset = load_annotations(folder, images)
    assert [image.file_name for image in dataset.images] == ["a.png"]
    return dict(dataset.problems)


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "page's coco"])
def test_a_missing_image_is_a_problem_of_its_file(tmp_path: Path, images: Path, kind: str) -> None:
    folder = written(tmp_path / "labels", kind)
    (images / "b.jpg").unlink()
    ((file, reason),) = problems_of(folder, images).items()
    assert file.startswith("b")
    assert reason.startswith("There is no image ")
    assert reason.endswith(f" in {images}. Check the folder of the images.")


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind not in ("yolo", "page's coco")])
def test_an_image_of_another_size_is_a_problem(tmp_path: Path, images: Path, kind: str) -> None:
    folder = written(tmp_path / "labels", kind)
    Image.new("RGB", (81, 60)).save(images / "b.jpg")
    (reason,) = problems_of(folder, images).values()
    assert reason == "The image b.jpg is 81 x 60, its annotations are for 80 x 60."


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        ("labelme", b"{", "b.json must be JSON, got Expecting"),
        ("labelme", b"[]", "b.json must be labelme's JSON, got"),
        ("labelme", b'{"shapes": 5}', "b.json must be labelme's JSON, got KeyError"),
        ("geojson", b"\xff", "b.geojson must be UTF-8 text, got"),
        ("yolo", b"", "There is no object of the image b.jpg."),
        (
            "yolo",
            b"0 0.5 0.5 0.2 0.2\n",
            "b.txt, line 1 must be a class number and three or more x y pairs from 0 to 1",
        ),
        ("yolo", b"cat 1 2 3\n", "b.txt, line 1 must be a class number and three or more x y pairs from 0 to 1"),
        ("indexed", b"", "b-indexed.png cannot be read as an image (its content is not an image)."),
        ("instances", b"no image", "b-instances.png cannot be read as an image (its content is not an image)."),
        ("plain map", b"no image", "b.png cannot be read as an image (its content is not an image)."),
        ("page's coco", b"{", "b.coco.json must be JSON, got Expecting"),
        ("page's coco", b'{"images": [], "annotations": [5]}', "got annotations[0] without 'image_id'"),
        ("indexed", b"\x89PNG", "b-indexed.png cannot be read as an image (its content is not an image)."),
    ],
)
def test_a_damaged_file_is_a_problem_and_does_not_stop_the_rest(
    tmp_path: Path, images: Path, kind: str, content: bytes, reason: str
) -> None:
    folder = written(tmp_path / "labels", kind)
    (path,) = folder.glob("b*")
    path.write_bytes(content)
    ((file, actual),) = problems_of(folder, images).items()
    assert file == path.name
    assert reason in actual
    (image,) = folder.glob("a*")
    image.unlink()
    with pytest.raises(InputError, match=rf"(No annotation in {folder} can be used\. |annotations ){path.name}"):
        load_annotations(folder, images)


def test_an_image_that_is_none_and_an_image_that_is_described_twice(tmp_path: Path, images: Path) -> None:
    folder = written(tmp_path / "labels", "labelme")
    (images / "b.jpg").write_text("no image")
    shutil.copy(folder / "a.json", folder / "again.json")
    problems = problems_of(folder, images)
    assert problems["b.json"] == (
        f"The image {images / 'b.jpg'} cannot be read (its content is not an image). Check the file."
    )
    assert problems["again.json"] == "The image a.png has annotations in another file, too. Leave one out."


def test_a_folder_of_several_formats_is_listed(tmp_path: Path, images: Path) -> None:
    folder = written(written(tmp_path / "labels", "labelme"), "yolo")
    with pytest.raises(InputError) as error:
        load_annotations(folder, images)
    assert str(error.value) == (
        f"annotations {folder} must have one format of COCO, labelme, YOLO segmentation, GeoJSON, Parquet, or indexed "
        "or 16-bit PNG, got 2 labelme (a.json, ...), 2 YOLO (a.txt, ...); name one file, or a folder with files of one "
        "format"
    )
    formats.write_coco(folder / "coco.json", [masked("a"), masked("b")])
    with pytest.warns(FormatLossWarning, match=r"contains 2 labelme .*, 1 COCO .*; COCO is read"):
        expect_both(load_annotations(folder, images))
    (folder / "other.json").write_bytes((folder / "coco.json").read_bytes())
    with (
        pytest.warns(FormatLossWarning),
        pytest.raises(InputError, match=r"got 2 COCO \(coco\.json, \.\.\.\); name one file"),
    ):
        load_annotations(folder, images)


def test_what_is_no_annotation(tmp_path: Path, images: Path) -> None:
    (tmp_path / "notes.json").write_text("[1]")
    for path in (tmp_path / "notes.json", images):
        with pytest.raises(InputError, match=r"must have one format of COCO, .*, got (another file|none); name one"):
            load_annotations(path, images)
    for content in ("{", "abc", ""):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(InputError, match=r"bad\.json must have one format of COCO.*, got a file that is not JSON"):
            load_annotations(tmp_path / "bad.json", images)
    with pytest.raises(InputError, match=r"The annotations .*none cannot be read \(No such file"):
        load_annotations(tmp_path / "none", images)
    with pytest.raises(InputError, match="images must be a folder, got"):
        load_annotations(images, tmp_path / "none")
    (tmp_path / "half.json").write_text('{"images": []}')
    with pytest.raises(InputError, match=r"half\.json must be COCO instance JSON: .*, got no list 'annotations'"):
        load_annotations(tmp_path / "half.json", images)


def test_files_that_are_not_annotations_do_not_matter(tmp_path: Path, images: Path) -> None:
    for kind in ("labelme", "yolo", "page's coco"):
        folder = written(tmp_path / kind, kind)
        (folder / "README.txt").write_text("All about these labels.\n")
        (folder / "settings.json").write_text('{"color": "blue"}')
        (folder / ".a.json").write_text("{")
        Image.new("RGB", (9, 9)).save(folder / "a-overlay.png")
        expect_both(load_annotations(folder, images))


# Content --------------------------------------------------------------------------------------------------------------


def test_the_shapes_of_labelme(tmp_path: Path, images: Path) -> None:
    stencil = io.BytesIO()
    Image.fromarray(np.full((5, 7), 255, np.uint8)).save(stencil, "PNG")
    shapes = [
        {"label": "p", "points": [[3, 4], [13, 4], [13, 9], [3, 9]], "shape_type": "polygon"},
        {"label": "r", "points": [[30, 40], [21, 32]], "shape_type": "rectangle"},
        {"label": "c", "points": [[50, 30], [50, 35]], "shape_type": "circle"},
        {
            "label": "m",
            "points": [[70, 2], [76, 6]],
            "shape_type": "mask",
            "mask": base64.b64encode(stencil.getvalue()),
        },
        {"label": "outside", "points": [[90, 70], [95, 70], [95, 75]], "shape_type": "polygon"},
    ]
    shapes[3]["mask"] = base64.b64encode(stencil.getvalue()).decode()
    document = {"imagePath": "a.png", "imageHeight": 60, "imageWidth": 80, "shapes": shapes}
    (tmp_path / "a.json").write_text(json.dumps(document))
    dataset = load_annotations(tmp_path / "a.json", images)
    instances, skipped = read_instances(dataset.images[0], HW, dataset.categories)
    assert [(instance.category, instance.box_xyxy.tolist()) for instance in instances] == [
        ("p", [3, 4, 14, 10]),
        ("r", [21, 32, 31, 41]),
        ("c", [45, 25, 56, 36]),
        ("m", [70, 2, 77, 7]),
    ]
    assert [instance.area for instance in instances][:2] == [66, 90]
    assert skipped == [{"annotation_id": 5, "reason": "the mask has no pixel inside the 80 x 60 frame"}]


def test_polygons_crowds_and_empty_masks_of_coco(tmp_path: Path) -> None:
    forms: list[dict[str, Any]] = [
        {"segmentation": polygons(FIRST)},
        {"segmentation": compressed(SECOND), "iscrowd": 1},
        {"segmentation": compressed(np.zeros(HW, bool))},
        {"segmentation": [[100, 100, 120, 100, 120, 120]]},
        {"segmentation": compressed(np.ones((7, 9), bool))},
    ]
    pixels = np.zeros((*HW, 3), np.uint8)
    path = write_coco(tmp_path / "set", {"a.png": pixels}, [{"image_id": "a.png", **form} for form in forms])
    dataset = load_annotations(path, path.parent)
    (instance,), skipped = read_instances(dataset.images[0], HW, dataset.categories)
    np.testing.assert_array_equal(instance.mask, FIRST)
    assert [each["annotation_id"] for each in skipped] == [2, 3, 4, 5]


def test_geojson_of_another_program_has_the_size_of_the_image(tmp_path: Path, images: Path) -> None:
    ring = [[[10, 10], [30, 10], [30, 20], [10, 20], [10, 10]]]
    feature = {"type": "Feature", "properties": {"label": "roof"}, "geometry": {"type": "Polygon", "coordinates": ring}}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature, feature | {"geometry": None}]}))
    dataset = load_annotations(path, images)
    (instance,), skipped = read_instances(dataset.images[0], HW, dataset.categories)
    assert (instance.category, instance.box_xyxy.tolist(), instance.area) == ("roof", [10, 10, 30, 20], 200)
    assert len(skipped) == 1


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_is_that_of_the_image_as_viewed(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (9, 5)).save(path, exif=exif)
    assert read_image_hw(path) == read_image(path).shape[:2] == ((9, 5) if orientation > 5 else (5, 9))


# Digest and memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_the_digest_is_that_of_the_contents(tmp_path: Path, images: Path, kind: str) -> None:
    first = load_annotations(written(tmp_path / "one", kind, "ab"), images).digest
    folder = written(tmp_path / "two/deep", kind, "ba")
    assert load_annotations(folder, images).digest == first
    (path,) = folder.glob("b*")
    (other,) = folder.glob("a*")
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    assert load_annotations(folder, images).digest != first
    path.write_bytes(content)
    other.write_bytes(other.read_bytes() + b"\n")
    assert load_annotations(folder, images).digest != first
    other.unlink()
    path.write_bytes(content)
    assert load_annotations(folder, images).digest != first


def test_masks_stay_encoded(tmp_path: Path) -> None:
    """Forty masks of 4 million pixels would be 160 MB."""
    hw = (2000, 2000)
    mask = np.zeros(hw, bool)
    mask[100:1900, 100:1900] = True
    for number in range(20):
        path = tmp_path / f"images/{number}.png"
        path.parent.mkdir(exist_ok=True)
        if number:
            shutil.copy(tmp_path / "images/0.png", path)
        else:
            Image.new("1", hw).save(path)
        (tmp_path / f"{number}.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n" * 2)
    tracemalloc.start()
    with warnings.catch_warnings(action="ignore"):
        dataset = load_annotations(tmp_path, tmp_path / "images")
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(dataset.images) == 20
    assert held < 2e6
    assert peak < 60e6
