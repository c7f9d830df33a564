"""PNG files read back by another library are what was written."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mobilesam.errors import InputError
from mobilesam.formats import png

MASK = np.random.default_rng(0).random((17, 23)) > 0.5
IMAGE = np.random.default_rng(1).integers(0, 256, (17, 23, 3), dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_mask_is_gray_0_and_255(tmp_path: Path) -> None:
    png.write_mask(tmp_path / "mask.png", MASK)
    np.testing.assert_array_equal(read(tmp_path / "mask.png"), MASK * np.uint8(255))


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
