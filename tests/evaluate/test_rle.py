import numpy as np
import pytest

from mobilesam.errors import InputError
from mobilesam.evaluate.metrics import tight_box
from mobilesam.evaluate.runner import _compressed
from mobilesam.formats.segmentation import decode_segmentation
from tests.evaluate.scenes import compressed, disc, polygons, uncompressed

HW = (37, 61)
MASKS = {
    "disc": disc(HW, (20, 15), 9),
    "touching all edges": np.ones(HW, bool),
    "one pixel": disc(HW, (60, 36), 0),
    "first pixel": disc(HW, (0, 0), 0),
    "random": np.random.default_rng(3).random(HW) > 0.5,
    "empty": np.zeros(HW, bool),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("form", [compressed, uncompressed])
def test_run_lengths_give_the_mask_back(name: str, form) -> None:
    np.testing.assert_array_equal(decode_segmentation(form(MASKS[name]), HW), MASKS[name])


@pytest.mark.parametrize("name", ["disc", "touching all edges"])
def test_polygons_give_the_mask_back(name: str) -> None:
    np.testing.assert_array_equal(decode_segmentation(polygons(MASKS[name]), HW), MASKS[name])


def test_polygon_parts_are_united_and_cut_at_the_frame() -> None:
    square = [[-10, -10, 5, -10, 5, 5, -10, 5], [40, 20, 50, 20, 50, 30, 40, 30]]
    mask = decode_segmentation(square, HW)
    assert mask[:5, :5].all()
    assert mask[20:30, 40:50].all()
    assert mask.sum() == 25 + 100


@pytest.mark.parametrize("name", MASKS)
def test_encoding_is_coco(name: str) -> None:
    assert _compressed(MASKS[name]) == compressed(MASKS[name])["counts"]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "segmentation is missing or empty"),
        ([], "segmentation is missing or empty"),
        ({}, "segmentation is missing or empty"),
        ("polygon", "segmentation is neither polygons nor an RLE"),
        ([1, 2, 3, 4, 5, 6], "at least three x y pairs"),
        ([[1, 2, 3, 4]], "at least three x y pairs"),
        ([[1, 2, 3, 4, 5, 6, 7]], "at least three x y pairs"),
        ([[1, 2, 3, 4, 5, float("nan")]], "finite numbers only"),
        ([[1, 2, 3, 4, 5, "6"]], "finite numbers only"),
        ({"size": [61, 37], "counts": [37 * 61]}, "the RLE is for height and width [61, 37], the image has [37, 61]"),
        ({"size": [37, 61], "counts": [10, 20]}, "counts do not add up to the size of the image"),
        ({"size": [37, 61], "counts": [-1, 37 * 61 + 1]}, "counts do not add up to the size of the image"),
        ({"size": [37, 61], "counts": ""}, "counts do not add up to the size of the image"),
        ({"size": [37, 61], "counts": "zzzzzz"}, "counts do not add up to the size of the image"),
        ({"size": [37, 61], "counts": 7}, "counts do not add up to the size of the image"),
    ],
)
def test_malformed_segmentations_say_what_is_wrong(segmentation: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        decode_segmentation(segmentation, HW)
    assert message in str(error.value)


def test_a_tight_box_ends_one_past_the_last_pixel() -> None:
    assert tight_box(MASKS["disc"]).tolist() == [11, 6, 30, 25]
