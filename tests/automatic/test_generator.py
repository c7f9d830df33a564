"""Everything mode around the model: records, filters, crops, tiles, canceling, errors."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
from pycocotools import mask as coco

from mobilesam import SamAutomaticMaskGenerator
from mobilesam.automatic import MaskRecords
from mobilesam.errors import InputError
from tests.automatic.color_model import ColorModel, squares

SQUARES = [(10, 20, 90, 110), (120, 30, 200, 90), (220, 120, 300, 190)]
PHOTO = squares((200, 320), SQUARES)
KEYS = ["segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box"]


def generator(model=None, **options):
    return SamAutomaticMaskGenerator(model or ColorModel(), **{"points_per_side": 8, **options})


def assert_squares(records, boxes=SQUARES, tolerance=4):
    """Every square must be found once, and the black around them."""
    assert len(records) == len(boxes) + 1
    for box in boxes:
        nearest = min(records, key=lambda record: np.abs(corners(record) - box).max())
        assert np.abs(corners(nearest) - box).max() <= tolerance, box


def corners(record):
    x, y, width, height = record["bbox"]
    return np.array([x, y, x + width + 1, y + height + 1])


def test_every_object_is_found_once():
    records = generator().generate(PHOTO)
    assert isinstance(records, MaskRecords)
    assert isinstance(records, list)
    assert records.partial is False
    assert_squares(records)


def test_a_record_is_that_of_sams_class():
    record = generator().generate(PHOTO)[0]
    assert list(record) == KEYS
    assert record["segmentation"].shape == (200, 320)
    assert record["segmentation"].dtype == np.bool_
    assert record["segmentation"].flags.c_contiguous
    assert record["area"] == record["segmentation"].sum()
    assert record["crop_box"] == [0, 0, 320, 200]
    (x, y), *more = record["point_coords"]
    assert not more
    assert record["segmentation"][int(y), int(x)]
    json.dumps({key: value for key, value in record.items() if key != "segmentation"})


def test_the_three_forms_of_a_mask_agree():
    masks = {
        mode: [record["segmentation"] for record in generator(output_mode=mode).generate(PHOTO)]
        for mode in ("binary_mask", "uncompressed_rle", "coco_rle")
    }
    for plain, runs, compressed in zip(*masks.values(), strict=True):
        assert compressed == {
            "size": [200, 320],
            "counts": coco.encode(np.asfortranarray(plain, np.uint8))["counts"].decode(),
        }
        assert sum(runs["counts"]) == 200 * 320
        assert coco.frPyObjects(runs, 200, 320)["counts"].decode() == compressed["counts"]


def test_the_best_predicted_iou_comes_first():
    class Uneven(ColorModel):
        def score_prompts(self, embedding, prompts):
            scored = super().score_prompts(embedding, prompts)
            scored.iou_predictions[:, 1] = 0.9 + prompts.point_coords[:, 0, 0] / 1e5
            return scored

    scores = [record["predicted_iou"] for record in generator(Uneven()).generate(PHOTO)]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)


def test_the_batch_is_that_of_the_model_and_at_most_the_requested_one():
    for points_per_batch, largest in ((64, 4), (3, 3)):
        model = ColorModel(batch=4)
        generator(model, points_per_batch=points_per_batch).generate(PHOTO)
        assert max(model.batches) == largest
        assert sum(model.batches) == 64


@pytest.mark.parametrize("options", [{}, {"crop_n_layers": 1}, {"tile_size": 128}, {"min_mask_region_area": 50}])
def test_a_photo_without_masks_gives_an_empty_list(options):
    assert generator(ColorModel(quality=0.5), **options).generate(PHOTO) == []


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("options", [{}, {"crop_n_layers": 1}, {"tile_size": 128}, {"min_mask_region_area": 50}])
def test_thin_photos(hw, options):
    records = generator(points_per_side=2, **options).generate(np.full((*hw, 3), 90, np.uint8))
    assert [record["area"] for record in records] == [hw[0] * hw[1]]


def test_no_thresholds_keep_everything_as_in_the_reference():
    options = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}
    assert len(generator(points_per_side=2, **options).generate(PHOTO)) == 4 * 3


def test_crops_find_what_is_too_small_for_the_whole_photo():
    small = [(50, 50, 58, 58), (200, 150, 208, 158)]
    options = {
        "points_per_side": None,
        "point_grids": [[[0.5, 0.5]], [[x / 40, y / 40] for x in range(40) for y in range(40)]],
    }
    records = generator(crop_n_layers=1, **options).generate(squares((200, 320), small))
    selected = [record for record in records if record["area"] < 100]
    assert len(selected) == 2
    for record in selected:
        assert record["crop_box"][2] < 320
        assert record["segmentation"].sum() == record["area"]


def test_small_regions_are_removed():
    image = squares((200, 320), [(20, 20, 180, 180)])
    image[100:102, 100:102] = 255  # a hole of 4 pixels
    options = {"points_per_side": None, "point_grids": [[[0.2, 0.5]]]}
    holed = generator(**options).generate(image)[0]
    whole = generator(min_mask_region_area=40, **options).generate(image)[0]
    assert not holed["segmentation"][101, 101]
    assert whole["segmentation"][101, 101]
    assert whole["area"] == whole["segmentation"].sum() > holed["area"]


def test_tiles_join_what_their_borders_cut():
    boxes = [(40, 40, 560, 90), (500, 150, 540, 190)]  # one longer than a tile, one smaller than the overlap
    model = ColorModel()
    records = generator(model, tile_size=256, points_per_side=16).generate(squares((256, 640), boxes))
    assert model.encoded == 1 + 3
    assert_squares(records, boxes, tolerance=6)


def test_tiles_leave_a_small_photo_alone():
    model = ColorModel()
    assert_squares(generator(model, tile_size=512).generate(PHOTO))
    assert model.encoded == 1


def test_progress_counts_points_and_masks():
    calls = []
    records = generator().generate(PHOTO, progress=lambda *counts: calls.append(counts))
    assert [done for done, _, _ in calls] == list(range(4, 65, 4))
    assert {total for _, total, _ in calls} == {64}
    assert calls[-1][2] >= len(records)


def test_canceling_returns_what_was_found():
    stop = threading.Event()

    def progress(done, total, masks):
        if done >= 32:
            stop.set()

    model = ColorModel()
    records = generator(model).generate(PHOTO, progress=progress, cancel=stop)
    assert records.partial is True
    assert 1 <= len(records) <= 4
    assert len(model.points) == 32
    assert generator().generate(PHOTO, cancel=lambda: True) == []


def test_a_run_cut_short_has_looked_everywhere():
    model = ColorModel()
    generator(model, points_per_side=16).generate(PHOTO, cancel=lambda: len(model.points) >= 64)
    points = np.array(model.points)
    for axis, extent in ((0, 1024), (1, 640)):
        assert np.ptp(points[:, axis]) > 0.8 * extent


def test_the_time_budget_ends_a_run():
    class Slow(ColorModel):
        def score_prompts(self, embedding, prompts):
            time.sleep(0.02)
            return super().score_prompts(embedding, prompts)

    start = time.monotonic()
    records = generator(Slow(), points_per_side=32).generate(PHOTO, time_budget_s=0.3)
    assert time.monotonic() - start < 2  # all of it would take 5
    assert records.partial is True
    assert len(records) >= 1


def test_boxes_of_a_detector_keep_their_order():
    boxes = [SQUARES[2], SQUARES[0], SQUARES[1]]
    records = generator().generate_from_boxes(PHOTO, boxes)
    assert [record["prompt_box"] for record in records] == [list(map(float, box)) for box in boxes]
    for record, box in zip(records, boxes, strict=True):
        assert np.abs(corners(record) - box).max() <= 4
        assert record["point_coords"] == []
    assert generator().generate_from_boxes(PHOTO, []) == []
    assert generator().generate_from_boxes(PHOTO, boxes, cancel=lambda: True).partial is True


BAD = [
    ({"pred_iou_thresh": 1.5}, "pred_iou_thresh must be from 0 to 1, got 1.5; leave it out for the default"),
    ({"stability_score_thresh": -0.1}, "stability_score_thresh must be from 0 to 1, got -0.1"),
    ({"box_nms_thresh": float("nan")}, "box_nms_thresh must be from 0 to 1, got nan"),
    ({"crop_nms_thresh": "0.7"}, "crop_nms_thresh must be from 0 to 1, got '0.7'"),
    ({"crop_overlap_ratio": 2}, "crop_overlap_ratio must be from 0 to 1, got 2"),
    ({"stability_score_offset": -1}, "stability_score_offset must be a number of at least 0"),
    ({"min_mask_region_area": None}, "min_mask_region_area must be a number of at least 0, got None"),
    ({"points_per_side": 0}, "points_per_side must be a whole number from 1 to 256, got 0"),
    ({"points_per_side": 8.0}, "points_per_side must be a whole number from 1 to 256, got 8.0"),
    ({"points_per_batch": 0}, "points_per_batch must be a whole number of at least 1, got 0"),
    ({"crop_n_layers": -1}, "crop_n_layers must be a whole number from 0 to 8, got -1"),
    ({"crop_n_points_downscale_factor": 0}, "crop_n_points_downscale_factor must be a whole number of at least 1"),
    (
        {"crop_n_layers": 2, "crop_n_points_downscale_factor": 4},
        "points_per_side must be at least 16, got 8, which leaves no points for crop layer 2",
    ),
    ({"point_grids": [[[0.5, 0.5]]]}, "points_per_side or point_grids must be given, got both"),
    ({"points_per_side": None}, "points_per_side or point_grids must be given, got neither"),
    (
        {"points_per_side": None, "point_grids": [[[0.5, 0.5]]], "crop_n_layers": 1},
        "point_grids must have 2 grids, got 1; add a grid, or lower crop_n_layers",
    ),
    ({"points_per_side": None, "point_grids": [[0.5, 0.5]]}, "each of point_grids must have shape (N, 2), got (2,)"),
    (
        {"points_per_side": None, "point_grids": [[[0.5, 320]]]},
        "each of point_grids must lie within 0 to 1, got 320; divide x by the width and y by the height",
    ),
    ({"points_per_side": None, "point_grids": [["a"]]}, "each of point_grids must be numbers, got list"),
    ({"output_mode": "coco"}, "output_mode must be one of binary_mask, uncompressed_rle, coco_rle, got 'coco'"),
    ({"mode": "fastest"}, "mode must be one of"),
    ({"tile_size": 10}, "tile_size must be a whole number of at least 64, got 10"),
    ({"tile_size": 256, "tile_overlap": 0.95}, "tile_overlap must be from 0 to 0.9, got 0.95"),
    ({"tile_size": 256, "crop_n_layers": 1}, "crop_n_layers must be 0 with tile_size, got 1"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError) as error:
        generator(**options)
    assert str(error.value).startswith(message)


def test_bad_arguments_of_a_run():
    with pytest.raises(InputError, match="progress must be callable, got int; pass a function"):
        generator().generate(PHOTO, progress=3)
    with pytest.raises(InputError, match=r"cancel must be callable, got bool; pass a function or a threading\.Event"):
        generator().generate(PHOTO, cancel=True)
    with pytest.raises(InputError, match="time_budget_s must be a number of at least 0, got -1"):
        generator().generate(PHOTO, time_budget_s=-1)
    with pytest.raises(InputError, match=r"boxes must have shape \(N, 4\), got \(4,\)"):
        generator().generate_from_boxes(PHOTO, [1, 2, 3, 4])
    with pytest.raises(InputError, match=r"model must be a model of this package, got builtins\.str"):
        SamAutomaticMaskGenerator("vit_t")


@pytest.mark.parametrize(("mode", "points"), [("exact", 1024), ("balanced", 384), ("fast", 176)])
def test_the_faster_modes_find_the_same_with_fewer_points(mode, points):
    boxes = [(10 + 80 * (i % 8), 10 + 80 * (i // 8), 70 + 80 * (i % 8), 70 + 80 * (i // 8)) for i in range(32)]
    model, calls = ColorModel(batch=2), []
    records = generator(model, points_per_side=32, mode=mode).generate(
        squares((330, 650), boxes), progress=lambda *counts: calls.append(counts)
    )
    assert_squares(records, boxes)
    assert len(model.points) == len(set(model.points)) == points
    assert calls[-1] == (points, points, 33)
