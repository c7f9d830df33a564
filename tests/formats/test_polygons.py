"""Masks as polygons, and the two formats that are made of them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import supervision
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw

from mobilesam import SamAutomaticMaskGenerator
from mobilesam.errors import FormatLossWarning, InputError
from mobilesam.formats import read_labelme, read_yolo, write_labelme, write_yolo, write_yolo_names, yolo_labels
from mobilesam.formats.labelme import labelme_document
from mobilesam.formats.masked_image import MaskedImage
from mobilesam.formats.polygons import filled, one_ring_of, rings_of
from tests.automatic.color_model import ColorModel, squares
from tests.formats.scenes import HW, LABELLED, MASKS, masks_of, record

SMALL = arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@pytest.mark.filterwarnings("ignore::mobilesam.errors.FormatLossWarning")
@given(SMALL)
def test_rings_cover_the_mask(mask: np.ndarray) -> None:
    rings = rings_of(mask)
    assert not (mask & ~filled(rings, mask.shape)).any()
    assert all(len(ring) >= 3 for ring in rings)
    assert sum(map(len, rings)) == 0 or mask.any()


@pytest.mark.filterwarnings("ignore::mobilesam.errors.FormatLossWarning")
def test_holes_stay_open_but_for_the_bridge() -> None:
    mask = MASKS["a hole and two parts"]
    rings = rings_of(mask)
    assert len(rings) == 2
    again = filled(rings, mask.shape)
    assert not again[60, 60]
    assert np.count_nonzero(again != mask) <= 2


@pytest.mark.filterwarnings("ignore::mobilesam.errors.FormatLossWarning")
def test_one_ring_joins_the_parts_with_a_thin_line() -> None:
    mask = MASKS["a hole and two parts"]
    again = filled([one_ring_of(mask)], mask.shape)
    assert not (mask & ~again).any()
    assert np.count_nonzero(again & ~mask) < 60  # the line between ring and disc
    assert one_ring_of(np.zeros((4, 4), np.bool_)).shape == (0, 2)


def test_yolo_text_is_read_back_as_its_own_tools_do(tmp_path: Path) -> None:
    mask = np.zeros((90, 70), np.bool_)
    mask[10:50, 5:33] = True
    pixel = np.zeros_like(mask)
    pixel[89, 69] = True
    path = tmp_path / "cat.txt"
    write_yolo(path, [record(mask), record(np.zeros_like(mask)), record(pixel)])
    lines = path.read_text().splitlines()
    assert len(lines) == 2, "an empty mask has no line"
    for line, original in zip(lines, (mask, pixel), strict=True):
        number, *shares = line.split()
        assert number == "0"
        corners = np.array(shares, np.float64).reshape(-1, 2) * (70, 90)  # cut to whole pixels, as Ultralytics does
        assert np.array_equal(filled([corners.astype(np.int32)], original.shape), original)
    assert yolo_labels([]) == ""


@pytest.mark.filterwarnings("ignore::mobilesam.errors.FormatLossWarning")
def test_labelme_draws_the_mask_again(tmp_path: Path) -> None:
    mask = MASKS["a hole and two parts"]
    path = tmp_path / "cat.json"
    write_labelme(path, MaskedImage("cat.png", (120, 160), [record(mask)]))
    document = json.loads(path.read_text())
    assert (document["imagePath"], document["imageHeight"], document["imageWidth"]) == ("cat.png", 120, 160)
    assert document["imageData"] is None
    assert {shape["group_id"] for shape in document["shapes"]} == {1}
    canvas = Image.new("L", (160, 120))
    for shape in document["shapes"]:
        assert shape["shape_type"] == "polygon"
        ImageDraw.Draw(canvas).polygon([tuple(xy) for xy in shape["points"]], outline=1, fill=1)  # labelme's own way
    assert np.count_nonzero((np.asarray(canvas) == 1) != mask) <= 45
    assert labelme_document(MaskedImage("none.png", (4, 4), []))["shapes"] == []


def test_what_polygons_cannot_store_is_warned_of_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            yolo_labels(MaskedImage("a.png", HW, [record(MASKS["a hole and two parts"])] * 2).records)
    assert [warning.category for warning in caught] == [FormatLossWarning]
    assert str(caught[0].message).startswith("this format's polygons have neither holes nor parts")
    yolo_labels([record(MASKS["a disc"])])  # nothing is lost, and nothing said


@pytest.mark.filterwarnings("ignore::mobilesam.errors.FormatLossWarning")
@pytest.mark.parametrize("name", MASKS)
def test_polygons_are_read_back(tmp_path: Path, name: str) -> None:
    mask = MASKS[name]
    write_labelme(tmp_path / "cat.json", MaskedImage("cat.png", HW, [record(mask)]))
    write_yolo(tmp_path / "cat.txt", [record(mask)])
    result = [read_labelme(tmp_path / "cat.json"), read_yolo(tmp_path / "cat.txt", HW)]
    if not mask.any():
        assert [len(photo.records) for photo in result] == [0, 0], "there is no polygon for nothing"
        return
    for photo in result:
        (again,) = masks_of(photo)
        assert not (mask & ~again).any()
        if name != "pixels that meet at corners":  # a polygon of its own for each, as far as it has parts at all
            assert np.count_nonzero(again & ~mask) <= 90
    assert result[0].records[0]["predicted_iou"] == 0.91
    assert np.isnan(result[1].records[0]["predicted_iou"])


@pytest.mark.filterwarnings("ignore::mobilesam.errors.FormatLossWarning")
def test_labels_survive(tmp_path: Path) -> None:
    labels = ["cat", "dog", 'ring: "round"']
    write_labelme(tmp_path / "dog.json", LABELLED)
    write_yolo(tmp_path / "dog.txt", LABELLED.records, labels)
    write_yolo_names(tmp_path / "data.yaml", labels)
    names = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert names == {"nc": 3, "names": dict(enumerate(labels))}
    for photo in (read_labelme(tmp_path / "dog.json"), read_yolo(tmp_path / "dog.txt", HW, labels)):
        assert [each["label"] for each in photo.records] == ["dog", 'ring: "round"']
    with pytest.raises(InputError, match="the label of each mask must be one of cat, got 'dog'"):
        yolo_labels(LABELLED.records, ["cat"])


def test_yolo_is_read_by_supervision(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (HW[1], HW[0])).save(tmp_path / "images/cat.png")
    kept = [MASKS["a disc"], MASKS["a pixel in the last corner"] | MASKS["a disc"][::-1, ::-1]]
    with pytest.warns(FormatLossWarning):
        write_yolo(tmp_path / "labels/cat.txt", [record(mask) for mask in kept])
    write_yolo_names(tmp_path / "data.yaml")
    dataset = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "data.yaml"), force_masks=True
    )
    ((_, _, detections),) = dataset
    assert dataset.classes == ["object"]
    for again, mask in zip(detections.mask, kept, strict=True):
        assert np.count_nonzero(again & mask) > 0.9 * np.count_nonzero(again | mask)  # the line between the parts


def test_supervision_takes_the_records_as_they_are() -> None:
    image = squares((640, 1024), [(40, 80, 320, 440), (400, 120, 720, 360)])
    records = SamAutomaticMaskGenerator(ColorModel(), points_per_side=8).generate(image)
    detections = supervision.Detections.from_sam(records)
    assert len(detections) == len(records) == 3
    by_area = sorted(records, key=lambda each: -each["area"])  # its own order
    np.testing.assert_array_equal(detections.mask, [each["segmentation"] for each in by_area])
    x, y, width, height = by_area[-1]["bbox"]
    np.testing.assert_array_equal(detections.xyxy[-1], [x, y, x + width, y + height])


def test_labelme_shapes_of_another_maker_are_read(tmp_path: Path) -> None:
    shapes = [
        {"label": "a", "points": [[3, 4], [1, 2]], "shape_type": "rectangle", "group_id": None},
        {"label": "b", "points": [[10, 10], [10, 13]], "shape_type": "circle", "group_id": 4},
        {"label": "b", "points": [[15, 1], [18, 1], [18, 3]], "group_id": 4},
    ]
    path = tmp_path / "hand.json"
    document = {"imagePath": "hand.jpg", "imageHeight": 20, "imageWidth": 30}
    path.write_text(json.dumps({**document, "shapes": shapes}))
    first, second = masks_of(read_labelme(path))
    assert first.sum() == 9
    assert first[2:5, 1:4].all()
    assert second[10, 7:14].all()
    assert second[1, 15:19].all()
    path.write_text(json.dumps({**document, "shapes": [shapes[0] | {"shape_type": "line"}]}))
    with pytest.raises(
        InputError, match="labelme's JSON, got the shape_type 'line', which is not polygon, rectangle, "
    ):
        read_labelme(path)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"hand\.json must be labelme's JSON, got KeyError"):
        read_labelme(path)


@pytest.mark.parametrize(
    "line", ["0 0.1 0.2", "0 0.5 0.5 0.2 0.2", "cat 0 0 0 1 1 1", "0 0 0 0 1 1 7", "-1 0 0 0 1 1 1"]
)
def test_a_line_that_is_no_polygon_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "cat.txt"
    path.write_text(f"0 0 0 0 1 1 1\n{line}\n")
    with pytest.raises(InputError, match=r"cat\.txt, line 2 must be a class number and three or more x y pairs"):
        read_yolo(path, HW)
