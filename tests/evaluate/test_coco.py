import json
from pathlib import Path

import numpy as np
import pytest

from mobilesam.errors import InputError
from mobilesam.evaluate.coco import load_coco, read_instances
from tests.evaluate.scenes import compressed, disc, polygons, uncompressed, write_coco

HW = (60, 80)
BLANK = np.zeros((*HW, 3), np.uint8)
MASK = disc(HW, (30, 25), 10)


def names(annotations: Path, **options) -> list[str]:
    return [photo.file_name for photo in load_coco(annotations, annotations.parent, **options).images]


def test_the_three_forms_of_a_mask_give_one_instance(tmp_path: Path) -> None:
    forms = [compressed(MASK), uncompressed(MASK), polygons(MASK)]
    path = write_coco(tmp_path, {"a.png": BLANK}, [{"image_id": "a.png", "segmentation": form} for form in forms])
    dataset = load_coco(path, tmp_path)
    instances, skipped = read_instances(dataset.images[0], HW, dataset.categories)
    assert skipped == []
    assert [instance.annotation_id for instance in instances] == [1, 2, 3]
    for instance in instances:
        np.testing.assert_array_equal(instance.mask, MASK)
        assert instance.area == MASK.sum()
        assert instance.category == "disc"
        assert instance.box_xyxy.tolist() == [20, 15, 41, 36]


def test_boxes_become_corners_inside_the_frame(tmp_path: Path) -> None:
    boxes = [[20, 15, 21, 21], [-5, 50, 20, 30]]
    annotations = [{"image_id": "a.png", "segmentation": compressed(MASK), "bbox": box} for box in boxes]
    dataset = load_coco(write_coco(tmp_path, {"a.png": BLANK}, annotations), tmp_path)
    instances, _ = read_instances(dataset.images[0], HW, dataset.categories)
    assert [instance.box_xyxy.tolist() for instance in instances] == [[20, 15, 41, 36], [0, 50, 15, 60]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"segmentation": compressed(np.zeros(HW, bool))}, "the mask has no pixel inside the 80 x 60 frame"),
        ({"segmentation": [[100, 100, 120, 100, 120, 120]]}, "the mask has no pixel inside the 80 x 60 frame"),
        ({"segmentation": None}, "segmentation is missing or empty"),
        ({"iscrowd": 1}, "a crowd region is not one object"),
        ({"bbox": [90, 10, 5, 5]}, "bbox [90, 10, 5, 5] covers nothing inside the 80 x 60 frame"),
        ({"bbox": [1, 2, 3]}, "bbox must be four finite numbers"),
        ({"bbox": [1, 2, 3, None]}, "bbox must be four finite numbers"),
    ],
)
def test_unusable_annotations_are_skipped_with_a_reason(tmp_path: Path, change: dict, reason: str) -> None:
    good = {"image_id": "a.png", "segmentation": compressed(MASK)}
    dataset = load_coco(write_coco(tmp_path, {"a.png": BLANK}, [good | change, good]), tmp_path)
    instances, skipped = read_instances(dataset.images[0], HW, dataset.categories)
    assert [instance.annotation_id for instance in instances] == [2]
    assert [entry["annotation_id"] for entry in skipped] == [1]
    assert reason in skipped[0]["reason"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "got a file that is not JSON"),
        ("[]", "got a JSON list"),
        ('{"annotations": []}', "got no list 'images'"),
        ("{}", "got no list 'images' and no list 'annotations'"),
        ('{"images": [{"id": 1}], "annotations": []}', "got images[0] without 'file_name'"),
        ('{"images": [], "annotations": [{"id": 1}]}', "got annotations[0] without 'image_id'"),
        ('{"images": [], "annotations": [5]}', "got annotations[0] without 'image_id'"),
        ('{"images": [], "annotations": [{"image_id": 1, "keypoints": []}]}', "got annotations without 'segmentation'"),
        (
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": []}',
            "got several images with one 'id'",
        ),
    ],
)
def test_a_file_that_is_not_coco_says_what_is_missing(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        load_coco(path, tmp_path)
    assert str(error.value).startswith("annotations labels.json must be COCO instance JSON")
    assert message in str(error.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"The annotations .*none\.json cannot be read \(No such file"):
        load_coco(tmp_path / "none.json", tmp_path)
    with pytest.raises(InputError, match=r"images must be a folder, got '.*images'"):
        load_coco(tmp_path / "none.json", tmp_path / "images")


def test_photos_are_chosen_in_name_order(tmp_path: Path) -> None:
    path = write_coco(tmp_path, {f"{letter}.png": BLANK for letter in "dbeac"}, [])
    assert names(path) == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert names(path, split="even") == ["a.png", "c.png", "e.png"]
    assert names(path, split="odd") == ["b.png", "d.png"]
    assert names(path, limit=2) == ["a.png", "b.png"]
    assert names(path, split="odd", limit=1) == ["b.png"]
    chosen = {seed: names(path, limit=2, seed=seed) for seed in range(8)}
    assert chosen == {seed: names(path, limit=2, seed=seed) for seed in range(8)}
    assert len({tuple(listed) for listed in chosen.values()}) > 2
    assert all(listed == sorted(listed) for listed in chosen.values())


def test_the_folder_in_a_file_name_may_be_absent_and_orphans_are_counted(tmp_path: Path) -> None:
    path = write_coco(tmp_path, {"a.png": BLANK}, [{"image_id": "z.png", "segmentation": compressed(MASK)}])
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "val2017/a.png"
    path.write_text(json.dumps(content))
    dataset = load_coco(path, tmp_path)
    assert dataset.images[0].path == tmp_path / "a.png"
    assert dataset.orphans == 1
