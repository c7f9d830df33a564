"""Masks as polygons, and the two formats that are made of them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw

from mobilesam import rle
from mobilesam.automatic.records import MaskRecord
from mobilesam.formats.coco import MaskedPicture
from mobilesam.formats.labelme import labelme_document, write_labelme
from mobilesam.formats.polygons import one_ring_of, rings_of
from mobilesam.formats.yolo import write_yolo, yolo_labels

SMALL = arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def record(mask: np.ndarray) -> MaskRecord:
    boundaries = rle.boundaries_of(mask)
    return {
        "segmentation": rle.to_uncompressed(boundaries, (mask.shape[0], mask.shape[1])),
        "area": int(mask.sum()),
        "bbox": [0, 0, 0, 0],
        "predicted_iou": 0.91,
        "point_coords": [],
        "stability_score": 0.9,
        "crop_box": [0, 0, mask.shape[1], mask.shape[0]],
    }


def ring_mask() -> np.ndarray:
    """A thick ring and a disc beside it: a hole, and two parts."""
    canvas = np.zeros((120, 160), np.uint8)
    cv2.circle(canvas, (60, 60), 45, 1, -1)
    cv2.circle(canvas, (60, 60), 20, 0, -1)
    cv2.circle(canvas, (135, 30), 12, 1, -1)
    return canvas.astype(np.bool_)


def filled(rings: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    canvas = np.zeros(shape, np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [ring.astype(np.int32)], 1)
    return canvas.astype(np.bool_)


@given(SMALL)
def test_rings_cover_the_mask(mask: np.ndarray) -> None:
    rings = rings_of(mask)
    assert not (mask & ~filled(rings, mask.shape)).any()
    assert all(len(ring) >= 3 for ring in rings)
    assert sum(map(len, rings)) == 0 or mask.any()


def test_holes_stay_open_but_for_the_bridge() -> None:
    mask = ring_mask()
    rings = rings_of(mask)
    assert len(rings) == 2
    again = filled(rings, mask.shape)
    assert not again[60, 60]
    assert np.count_nonzero(again != mask) <= 2


def test_one_ring_joins_the_parts_with_a_thin_line() -> None:
    mask = ring_mask()
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


def test_labelme_draws_the_mask_again(tmp_path: Path) -> None:
    mask = ring_mask()
    path = tmp_path / "cat.json"
    write_labelme(path, MaskedPicture("cat.png", (120, 160), [record(mask)]))
    document = json.loads(path.read_text())
    assert (document["imagePath"], document["imageHeight"], document["imageWidth"]) == ("cat.png", 120, 160)
    assert document["imageData"] is None
    assert {shape["group_id"] for shape in document["shapes"]} == {1}
    canvas = Image.new("L", (160, 120))
    for shape in document["shapes"]:
        assert shape["shape_type"] == "polygon"
        ImageDraw.Draw(canvas).polygon([tuple(xy) for xy in shape["points"]], outline=1, fill=1)  # labelme's own way
    assert np.count_nonzero((np.asarray(canvas) == 1) != mask) <= 45
    assert labelme_document(MaskedPicture("none.png", (4, 4), []))["shapes"] == []
