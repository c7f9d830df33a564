"""PNG files read back by another library are what was written."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mobilesam.errors import FormatLossWarning, InputError
from mobilesam.formats import png
from mobilesam.formats.masked_image import MaskedImage
from mobilesam.visualize import palette
from tests.formats.scenes import HW, MASKS, PHOTO, masks_of, pixel, record

MASK = np.random.default_rng(0).random((17, 23)) > 0.5
IMAGE = np.random.default_rng(1).integers(0, 256, (17, 23, 3), dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_mask_is_gray_0_and_255(tmp_path: Path) -> None:
    png.write_mask(tmp_path / "mask.png", MASK)
    np.testing.assert_array_equal(read(tmp_path / "mask.png"), MASK * np.uint8(255))


def test_a_mask_is_read_back(tmp_path: Path) -> None:
    png.write_mask(tmp_path / "mask.png", MASK)
    np.testing.assert_array_equal(png.read_mask(tmp_path / "mask.png"), MASK)
    png.write_image(tmp_path / "image.png", IMAGE)
    with pytest.raises(InputError, match=r"mask must be gray or indexed, got image\.png of mode RGB;"):
        png.read_mask(tmp_path / "image.png")
    with pytest.raises(InputError, match=r"The mask .*absent\.png cannot be read as an image \(No such file"):
        png.read_mask(tmp_path / "absent.png")
    (tmp_path / "text.png").write_text("a mask")
    with pytest.raises(InputError, match=r"text\.png cannot be read as an image \(its content is not an image\)\."):
        png.read_mask(tmp_path / "text.png")


def test_maps_number_the_masks_the_smallest_on_top(tmp_path: Path) -> None:
    masks = [MASKS["a disc"], pixel(31, 41), pixel(150, 5)]
    photo = MaskedImage("cat.png", HW, [record(mask) for mask in masks])
    with pytest.warns(FormatLossWarning, match="where masks overlap, the smaller one is kept"):
        png.write_indexed(tmp_path / "indexed.png", photo)
    with pytest.warns(FormatLossWarning):
        png.write_instances(tmp_path / "instances.png", photo)
    with Image.open(tmp_path / "indexed.png") as image:
        assert image.mode == "P"
        colors, numbers = np.array(image.getpalette()).reshape(-1, 3), np.array(image)
    np.testing.assert_array_equal(colors[1:4], palette(3))
    ids = read(tmp_path / "instances.png")
    assert ids.dtype == np.uint16
    np.testing.assert_array_equal(ids, numbers)
    assert (ids[41, 31], ids[5, 150], ids[119, 159]) == (2, 3, 0)
    for name in ("indexed.png", "instances.png"):
        result = png.read_map(tmp_path / name)
        assert result.hw == HW
        for again, mask in zip(masks_of(result), [masks[0] & ~masks[1], *masks[1:]], strict=True):
            np.testing.assert_array_equal(again, mask)


def test_more_masks_than_numbers(tmp_path: Path) -> None:
    many = PHOTO._replace(records=[record(pixel(index % 160, index // 160)) for index in range(256)])
    with pytest.raises(InputError, match="the masks of a map must be at most 255, got 256; write the 16-bit map"):
        png.write_indexed(tmp_path / "indexed.png", many)
    png.write_instances(tmp_path / "instances.png", many)
    assert len(png.read_map(tmp_path / "instances.png").records) == 256


def test_cutout_is_rgba_and_holds_nothing_of_the_outside(tmp_path: Path) -> None:
    png.write_cutout(tmp_path / "cutout.png", IMAGE, MASK)
    pixels = read(tmp_path / "cutout.png")
    np.testing.assert_array_equal(pixels[..., 3], MASK * np.uint8(255))
    np.testing.assert_array_equal(pixels[MASK][:, 2::-1], IMAGE[MASK])
    assert not pixels[~MASK].any()


def test_image_is_written_as_it_is(tmp_path: Path) -> None:
    png.write_image(tmp_path / "image.png", IMAGE)
    np.testing.assert_array_equal(read(tmp_path / "image.png")[..., ::-1], IMAGE)


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "mask.png"
    target.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"output file must not exist yet, got .*mask\.png;"):
        png.write_mask(target, MASK)
    assert target.read_bytes() == b"mine"
    png.write_mask(target, MASK, force=True)
    np.testing.assert_array_equal(read(target), MASK * np.uint8(255))
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]
