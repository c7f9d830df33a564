"""The formats that hold masks exactly: COCO, Parquet, GeoJSON; each read by its own library and by us."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pyarrow import parquet
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.formats import (
    coco_dataset,
    geojson_collection,
    read_coco,
    read_coco_prompts,
    read_geojson,
    read_parquet,
    write_coco,
    write_geojson,
    write_parquet,
)
from mobilesam.formats.outlines import fill, outlines
from mobilesam.masks import rle
from tests.formats.scenes import EMPTY, HW, LABELLED, MASKS, PHOTO, masks_of, record

PHOTOS = [PHOTO, EMPTY, LABELLED]
SMALL = arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def check_same(result, expected) -> None:
    assert (result.file_name, result.hw) == (expected.file_name, expected.hw)
    assert list(result.records) == list(expected.records)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
def test_coco_is_read_by_pycocotools_and_by_us(tmp_path):
    path = tmp_path / "coco.json"
    write_coco(path, iter(PHOTOS))
    dataset = COCO(str(path))
    assert [image["file_name"] for image in dataset.loadImgs([1, 2, 3])] == ["photos/cat.jpg", "none.png", "dog.png"]
    for annotation, mask in zip(dataset.loadAnns(dataset.getAnnIds([1])), MASKS.values(), strict=True):
        np.testing.assert_array_equal(dataset.annToMask(annotation), mask)
    names = {entry["id"]: entry["name"] for entry in dataset.loadCats(dataset.getCatIds())}
    labels = [names[entry["category_id"]] for entry in dataset.loadAnns(dataset.getAnnIds([3]))]
    assert labels == ["dog", 'ring: "round"']
    for result, expected in zip(read_coco(path), PHOTOS, strict=True):
        check_same(result, expected)


def test_coco_written_one_photo_at_a_time_is_the_data_set(tmp_path):
    for number, photos in enumerate((PHOTOS, [EMPTY], [])):
        path = tmp_path / f"{number}.json"
        write_coco(path, photos)
        assert path.read_text() == json.dumps(coco_dataset(photos)) + "\n"


def test_coco_polygons_and_missing_scores_are_read(tmp_path):
    path = tmp_path / "truth.json"
    square = {
        "id": 5,
        "image_id": 7,
        "category_id": 2,
        "segmentation": [[2, 3, 6, 3, 6, 8, 2, 8]],
        "bbox": [2, 3, 4, 5],
    }
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 20, "height": 10}],
        "annotations": [square, square | {"id": 6, "iscrowd": 1}],
        "categories": [{"id": 2, "name": "cat"}],
    }
    path.write_text(json.dumps(content))
    (photo,) = read_coco(path)
    assert masks_of(photo)[0][3:8, 2:6].all()
    assert photo.records[0]["area"] == 20
    assert math.isnan(photo.records[0]["predicted_iou"])
    assert "score" not in coco_dataset([photo])["annotations"][0], "what is not known is not written"
    (prompt,) = read_coco_prompts(path).for_image("photos/a.png")  # a crowd is not one object
    assert (prompt.box, prompt.label) == ((2, 3, 6, 8), "cat")
    for change, message in (
        ({"segmentation": [[1, 2]]}, "annotation 5 of truth.json must have a usable mask, got a polygon must be"),
        ({"bbox": None}, r"annotation 5 of truth.json: bbox must be numbers \[x, y, width, height\], got None"),
    ):
        path.write_text(json.dumps(content | {"annotations": [square | change]}))
        with pytest.raises(InputError, match=message):
            (read_coco if "segmentation" in change else read_coco_prompts)(path)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
def test_parquet_is_read_by_pyarrow_and_by_us(tmp_path):
    path = tmp_path / "masks.parquet"
    write_parquet(path, iter(PHOTOS))
    rows = parquet.read_table(path).to_pylist()
    assert [(row["image_id"], row["mask_id"]) for row in rows][-3:] == [(2, None), (3, 1), (3, 2)]
    for row, mask in zip(rows, MASKS.values(), strict=False):
        decoded = coco_mask.decode({"size": [row["height"], row["width"]], "counts": row["counts"]})
        np.testing.assert_array_equal(decoded, mask)
        assert row["area"] == mask.sum()
    for result, expected in zip(read_parquet(path), PHOTOS, strict=True):
        check_same(result, expected)


def test_parquet_says_what_is_wrong(tmp_path, monkeypatch):
    path = tmp_path / "masks.parquet"
    path.write_bytes(b"no")
    with pytest.raises(InputError, match=r"masks.parquet must be a table of masks in Parquet, got "):
        list(read_parquet(path))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match=r'run: pip install "pyarrow>=16"'):
        write_parquet(tmp_path / "new.parquet", [])


@pytest.mark.parametrize(
    "transform", [(1, 0, 0, 0, 1, 0), (0.5, 0, 440720, 0, -0.5, 3751320), (0.3, 0.4, 7, -0.4, 0.3, 9)]
)
def test_geojson_is_valid_for_shapely_and_read_back(tmp_path, transform):
    path = tmp_path / "cat.geojson"
    write_geojson(path, PHOTO, transform=(*transform, 0, 0, 1))  # as rasterio's type spells it
    content = json.loads(path.read_text())
    pixel_area = abs(transform[0] * transform[4] - transform[1] * transform[3])
    for feature, mask in zip(content["features"], MASKS.values(), strict=True):
        if not mask.any():
            assert feature["geometry"] is None
            continue
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert shape.is_valid, shapely.is_valid_reason(shape)
        assert shape.area == pytest.approx(mask.sum() * pixel_area)
        for part in getattr(shape, "geoms", [shape]):
            assert part.exterior.is_ccw
            assert not any(hole.is_ccw for hole in part.interiors)
    result = read_geojson(path)
    assert result.file_name == "photos/cat.jpg"
    for mask, expected in zip(masks_of(result), MASKS.values(), strict=True):
        np.testing.assert_array_equal(mask, expected)
    assert result.records[0]["predicted_iou"] == 0.91


@given(SMALL)
def test_outlines_are_simple_and_exact(mask):
    parts = outlines(mask)
    shape = shapely.MultiPolygon([shapely.Polygon(part.exterior, part.holes) for part in parts])
    assert shape.is_valid
    assert shape.area == mask.sum()
    rings = [ring for part in parts for ring in (part.exterior, *part.holes)]
    np.testing.assert_array_equal(rle.mask_of(fill(rings, mask.shape), mask.shape), mask)


def test_polygons_of_another_program_are_filled_at_the_middle_of_pixels(tmp_path):
    path = tmp_path / "field.geojson"
    triangle = [[-5, -5], [10, -5], [-5, 10], [-5, -5]]
    feature = {"type": "Feature", "properties": None, "geometry": {"type": "Polygon", "coordinates": [triangle]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (mask,) = masks_of(read_geojson(path, (6, 8)))
    y, x = np.indices((6, 8))
    np.testing.assert_array_equal(mask, x + y + 1 < 5)
    with pytest.raises(InputError, match="hw must be given for a GeoJSON of another program, got none"):
        read_geojson(path)
    feature["geometry"] = {"type": "Point", "coordinates": [1, 2]}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(
        InputError, match=r"^field\.geojson must be GeoJSON, got a geometry of type 'Point', which is not a"
    ):
        read_geojson(path, HW)
    with pytest.raises(InputError, match="transform must be six numbers a b c d e f of an affine map"):
        geojson_collection(PHOTO, (0, 0, 1, 0, 0, 1))


def test_unknown_scores_are_null_in_geojson():
    nameless = PHOTO._replace(records=[record(MASKS["a disc"], predicted_iou=None, stability_score=None)])
    text = json.dumps(geojson_collection(nameless), allow_nan=False)
    assert json.loads(text)["features"][0]["properties"]["predicted_iou"] is None
