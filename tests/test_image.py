"""Images from files, streams and Pillow, and the encoder's input made of them."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import ExifTags, Image

from mobilesam.errors import InputError
from mobilesam.image.model_input import PIXEL_MEAN, PIXEL_STD, encoder_input, normalize, pad, resize
from mobilesam.image.read import MAX_PIXELS, image_digest, read_image

# From the record of the reference package's outputs: sha256 of an image's RGB bytes, and of what its
# ResizeLongestSide(1024).apply_image makes of them.
REFERENCE_SHA256 = {
    "astronaut": (
        "a8c429c18afa7b0fd5673e598d73a21225d94c864a71bbb3885126fdecb41071",
        "acc15009f3807d5fc4df041f1b75883ff06ad080ae1d1b58eaeb930924e35b44",
    ),
    "chelsea": (
        "416b729128bfb2c3d1eb69bf9b1734a796293abc17939267b2dc94f8a5784031",
        "95100b8c58f5e18a5510edd5e601d9c7804f4265c4ba48efc7156d6ca3619243",
    ),
    "coffee": (
        "0ce2b51640b9c95f19617f03eabf40c3f0368589cc1ee1190b70966165ac184f",
        "62c25c5ba96b52fc27e8998d8e516b899e9d466d219d01b56671f5259f13ffd6",
    ),
    "coins": (
        "aaecc2ad43bd43e204f7ad01dc60494586ff80d42236c2db358c59b9be1f5427",
        "23b38a69598a245449485c7b170d1b88100b8c79fea9afa223c2a09bcb5d385d",
    ),
}


@pytest.fixture(scope="module")
def photo() -> Any:
    """(60, 90, 3) uint8: small, not square, no symmetry."""
    return np.ascontiguousarray(skimage.data.chelsea()[100:160, 100:190])


def encode(pixels: Any, suffix: str = "PNG", **options: Any) -> bytes:
    photo = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    photo.save(buffer, suffix, **options)
    return buffer.getvalue()


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


# Where an image comes from


def test_every_source_gives_the_same_pixels(photo: Any, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encode(photo))
    with path.open("rb") as stream:
        sources = [
            path,
            str(path),
            path.read_bytes(),
            bytearray(path.read_bytes()),
            stream,
            Image.fromarray(photo),
            photo,
        ]
        for source in sources:
            np.testing.assert_array_equal(read_image(source), photo)


def test_a_stream_that_cannot_seek_is_read(photo: Any) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source:
        with os.fdopen(writing, "wb") as sink:
            sink.write(encode(photo[:8, :8]))
        np.testing.assert_array_equal(read_image(source), photo[:8, :8])


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_a_path_that_is_a_pipe_is_read_to_its_end(photo: Any) -> None:
    """As of ``mobilesam predict <(command)``."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"):
        with os.fdopen(writing, "wb") as sink:
            sink.write(encode(photo[:8, :8]))
        np.testing.assert_array_equal(read_image(f"/dev/fd/{reading}"), photo[:8, :8])


def test_the_pixels_can_be_written_to(photo: Any) -> None:
    assert read_image(encode(photo)).flags.writeable
    assert read_image(encode(photo)).flags.c_contiguous


def test_image_format_is_of_arrays_only(photo: Any) -> None:
    np.testing.assert_array_equal(read_image(photo[..., ::-1], "BGR"), photo)
    np.testing.assert_array_equal(read_image(encode(photo), "BGR"), photo)
    with pytest.raises(InputError, match=r"image_format must be one of RGB, BGR, got 'GBR'"):
        read_image(encode(photo), "GBR")


def test_a_pillow_image_is_left_as_it_was(photo: Any) -> None:
    photo = Image.open(io.BytesIO(encode(photo, exif=oriented(6))))
    read_image(photo)
    assert photo.size == (90, 60)
    assert photo.getexif()[ExifTags.Base.Orientation] == 6


# What an image may be


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.transpose(1, 0, 2)),
        (6, lambda image: np.rot90(image, -1)),
        (7, lambda image: image[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda image: np.rot90(image, 1)),
    ],
)
@pytest.mark.parametrize("options", [{"suffix": "PNG"}, {"suffix": "TIFF"}, {"suffix": "WEBP", "lossless": True}])
def test_exif_orientation(photo: Any, orientation: int, turn: Callable[[Any], Any], options: dict[str, Any]) -> None:
    content = encode(photo, exif=oriented(orientation), **options)
    np.testing.assert_array_equal(read_image(content), turn(photo))
    np.testing.assert_array_equal(read_image(Image.open(io.BytesIO(content))), turn(photo))


def test_exif_orientation_of_a_jpeg() -> None:
    left_red = np.zeros((16, 32, 3), dtype=np.uint8)
    left_red[:, :16, 0] = 255
    image = read_image(encode(left_red, "JPEG", exif=oriented(6)))
    assert image.shape == (32, 16, 3)
    assert image[2, 8, 0] > 200  # left is up
    assert image[-3, 8, 0] < 50


def test_exif_that_cannot_be_read_is_no_orientation(photo: Any) -> None:
    content = encode(photo, "WEBP", lossless=True, exif=oriented(6))
    broken = content.replace(b"MM\0*", b"XXXX").replace(b"II*\0", b"XXXX")
    assert broken != content
    np.testing.assert_array_equal(read_image(broken), photo)


def test_orientation_applies_to_sixteen_bits(photo: Any) -> None:
    gray = photo[..., 0].astype(np.uint16) * 257
    np.testing.assert_array_equal(
        read_image(encode(gray, "TIFF", exif=oriented(6)))[..., 0], np.rot90(photo[..., 0], -1)
    )


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_modes_without_transparency_are_what_pillow_shows(photo: Any, mode: str) -> None:
    photo = Image.fromarray(photo).convert(mode)
    np.testing.assert_array_equal(read_image(photo), np.asarray(photo.convert("RGB")))


def test_a_cmyk_jpeg_keeps_its_colors(photo: Any) -> None:
    rgb = read_image(encode(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(rgb.astype(int) - photo).mean() < 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    photo = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    photo.putpixel((1, 0), (0, 0, 0, 0))
    converted = photo.convert("LA") if mode == "LA" else photo
    if mode == "PA":
        converted = Image.new("PA", (2, 1))
        converted.putpalette([0, 0, 0])
        converted.putdata([(0, 255), (0, 0)])
    np.testing.assert_array_equal(read_image(converted)[0], [[0] * 3, [255] * 3])


def test_a_palette_with_a_transparent_entry() -> None:
    photo = Image.new("P", (2, 1), 0)
    photo.putpalette([10, 20, 30, 0, 0, 0])
    photo.putpixel((1, 0), 1)
    for transparency in (1, b"\xff\x00"):
        content = encode(photo, "PNG", transparency=transparency)
        np.testing.assert_array_equal(read_image(content)[0], [[10, 20, 30], [255] * 3])


def test_a_transparent_color() -> None:
    photo = Image.new("RGB", (2, 1), (10, 20, 30))
    photo.putpixel((1, 0), (0, 255, 0))
    content = encode(photo, "PNG", transparency=(0, 255, 0))
    np.testing.assert_array_equal(read_image(content)[0], [[10, 20, 30], [255] * 3])


@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
def test_sixteen_bit_gray_files(photo: Any, suffix: str) -> None:
    gray = photo[..., 0].astype(np.uint16)
    np.testing.assert_array_equal(read_image(encode(gray * 257, suffix))[..., 1], photo[..., 0])


def test_twelve_bits_in_a_sixteen_bit_file() -> None:
    gray = np.array([[0, 2048, 4095]], dtype=np.uint16)
    np.testing.assert_array_equal(read_image(encode(gray))[0, :, 0], [0, 128, 255])


def test_integers_and_floats_of_thirty_two_bits() -> None:
    np.testing.assert_array_equal(
        read_image(Image.fromarray(np.array([[0, 65535]], dtype=np.int32)))[0, :, 0], [0, 255]
    )
    np.testing.assert_array_equal(
        read_image(encode(np.array([[0.0, 1.0]], dtype=np.float32), "TIFF"))[0, :, 0], [0, 255]
    )
    with pytest.raises(InputError, match=r"image must have integers in 0\.\.255, got 0\.\.70000 \(int32\)"):
        read_image(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))
    with pytest.raises(InputError, match=r"image must have floats in 0\.\.1, got 0\.\.3000; scale it to 0\.\.1"):
        read_image(encode(np.array([[0.0, 3000.0]], dtype=np.float32), "TIFF"))


def test_the_first_frame_is_read(photo: Any) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    content = encode(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(content)[0, 0], [255, 0, 0])
    photo = Image.open(io.BytesIO(content))
    photo.seek(1)
    np.testing.assert_array_equal(read_image(photo)[0, 0], [0, 0, 255])


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_sides_of_one_pixel(size: tuple[int, int]) -> None:
    image = read_image(encode(Image.new("RGB", size, "red")))
    assert image.shape == (size[1], size[0], 3)
    assert encoder_input(image, 64).pixels.shape == (1, 3, 64, 64)


def test_thirty_megapixels(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("L", (6400, 4800), 77).save(path)
    image = read_image(path)
    assert image.shape == (4800, 6400, 3)
    assert encoder_input(image, 1024).pixels.shape == (1, 3, 1024, 1024)


# What is refused


@pytest.fixture
def small_pillow_limit() -> Iterator[None]:
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = 1000
    yield
    assert Image.MAX_IMAGE_PIXELS == 1000, "Pillow's own limit must be put back"
    Image.MAX_IMAGE_PIXELS = limit


@pytest.mark.usefixtures("small_pillow_limit")
def test_pillows_own_limit_neither_warns_nor_refuses(photo: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(read_image(encode(photo)), photo)  # 5400 pixels: an error by that limit
    assert not caught


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    content = bytearray(encode(np.zeros((1, 1), dtype=np.uint8)))
    content[16:24] = (20_000).to_bytes(4, "big") * 2  # the header's sides; there is no data for them
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert str(caught.value) == (
        f"image must have at most 200 million pixels, got {path} of 20000 x 20000 = 400 million; "
        "shrink it, or increase max_pixels if you trust it"
    )
    assert MAX_PIXELS == 200_000_000


def test_max_pixels_is_an_argument(photo: Any) -> None:
    assert read_image(encode(photo), max_pixels=5400).shape == (60, 90, 3)
    with pytest.raises(InputError, match=r"image must have at most 0\.005399 million pixels, got data of 90 x 60"):
        read_image(encode(photo), max_pixels=5399)


def refusal(source: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_image(source)
    return str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / "kitten.jpg").write_bytes(b"")
    assert refusal(tmp_path / "kiten.jpg") == (
        f"image must be an existing file, got {tmp_path}/kiten.jpg; did you mean '{tmp_path}/kitten.jpg'?"
    )
    assert refusal(tmp_path / "zebra.png").endswith(f"it is not in {tmp_path}")
    assert refusal(tmp_path / "no" / "cat.png").endswith(f"there is no directory {tmp_path}/no")
    assert refusal("https://example.org/cat.png").endswith("download it first, images are read from files")


def test_directories(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"image must be a file, got the directory {tmp_path}; name an image inside it"


def test_paths_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    actual = refusal(tmp_path / "file" / "cat.png")
    assert actual.startswith("image must be a readable file, got ")
    assert "(Not a directory); check its path and permissions" in actual
    assert "embedded null" in refusal("a\0b")
    assert "(File name too long)" in refusal("x" * 5000)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_files_without_permission(photo: Any, closed: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "inner"
        inner.mkdir()
        path = inner / "photo.png"
        path.write_bytes(encode(photo))
        Path(folder).chmod(0o755)
        (path if closed == "file" else inner).chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # root may read anything
        try:
            message = refusal(path)
        finally:
            os.seteuid(user)
            inner.chmod(0o755)
    assert message == (
        f"image must be a readable file, got '{path}' (Permission denied); check its path and permissions"
    )


def test_empty_files(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    assert refusal(path) == f"image must be an image, got {path}, which is empty (zero bytes); replace the file"
    assert refusal(b"") == "image must be an image, got data, which is empty (zero bytes); replace the file"
    assert refusal(io.BytesIO()).startswith("image must be an image, got data, which is empty")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html>404</html>", "an HTML page"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"hello\n", "text beginning 'hello'"),
        (b"\xff\xd8\xff\xe0", "a JPEG"),
        (bytes(range(1, 200)), "data beginning with the bytes 01 02 03 04 05 06 07 08"),
    ],
)
def test_files_that_are_not_photos(content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert refusal(path) == (
        f"image must be an image, got {path}, which Pillow cannot read and looks like {kind}; "
        "pass a valid JPEG, PNG, WebP or TIFF"
    )


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_truncated_files(photo: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"cut.{suffix.lower()}"
    content = encode(photo, suffix)
    path.write_bytes(content[: len(content) * 2 // 3])
    message = refusal(path)
    assert message.startswith((f"image must be a complete image, got {path} (", "image must be an image, got"))
    assert "; " in message


def test_a_truncated_pillow_image(photo: Any) -> None:
    content = encode(photo, "JPEG")
    message = refusal(Image.open(io.BytesIO(content[: len(content) // 2])))
    assert message.startswith("image must be a complete image, got a Pillow image (")
    assert message.endswith("it is truncated or damaged, replace the file")


def test_postscript_is_not_run() -> None:
    content = encode(Image.new("RGB", (4, 4)), "EPS")
    assert refusal(content) == (
        "image must be made of pixels, got data, which is a PostScript drawing; export it as PNG"
    )


def test_a_mode_without_a_conversion() -> None:
    assert refusal(Image.new("LA", (2, 2)).convert("La")) == (
        "image must convert to RGB, got a Pillow image of mode La; convert it first"
    )


def test_text_streams() -> None:
    assert refusal(io.StringIO("P3")) == ("image file object must be opened in binary mode, got str; open it with 'rb'")


def test_arrays_are_checked_too() -> None:
    assert refusal(np.zeros((3, 20, 30))).endswith("move the channels last with image.transpose(1, 2, 0)")
    assert refusal(None).startswith("image must be an image, got None")


def test_damaged_files_give_a_sentence_or_a_photo(photo: Any) -> None:
    generator = np.random.default_rng(0)
    warnings.simplefilter("ignore")  # Pillow's remarks on what it repairs
    for suffix in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "ICO"):
        content = np.frombuffer(encode(photo[:16, :16], suffix), dtype=np.uint8)
        for _ in range(60):
            damaged = content.copy()
            places = generator.integers(0, min(len(damaged), 200), size=3)
            damaged[places] = generator.integers(0, 256, size=3)
            try:
                image = read_image(damaged.tobytes(), max_pixels=1_000_000)
            except InputError:
                continue
            assert image.ndim == 3
            assert image.dtype == np.uint8


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_photo_of_many_rows_is_read_whole(mode: str) -> None:
    gray = np.random.default_rng(3).integers(0, 256, (700, 90), dtype=np.uint8)
    photo = Image.fromarray(gray).convert(mode)
    np.testing.assert_array_equal(read_image(photo), np.repeat(gray[..., None], 3, axis=-1))


# What the encoder is fed


@pytest.mark.parametrize(
    "shape", [(60, 90), (90, 60), (61, 61), (3000, 17), (2000, 3000), (1, 700), (1024, 1024), (1024, 683), (5, 3)]
)
def test_resize_is_pillows_bilinear(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    resized = resize(image, 1024)
    assert max(resized.shape[:2]) == 1024
    expected = Image.fromarray(image).resize(resized.shape[1::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resized, expected)


def test_normalize_has_the_channels_first_and_sams_constants() -> None:
    assert PIXEL_MEAN == (123.675, 116.28, 103.53)
    assert PIXEL_STD == (58.395, 57.12, 57.375)
    image = np.array([[[0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    normalized = normalize(image)
    assert normalized.shape == (1, 3, 1, 2)
    assert normalized.dtype == np.float32
    expected = (np.array([0, 255])[None, :] - np.array(PIXEL_MEAN)[:, None]) / np.array(PIXEL_STD)[:, None]
    np.testing.assert_allclose(normalized[0, :, 0], expected, rtol=1e-6)


def test_pad_adds_zeros_below_and_to_the_right() -> None:
    normalized = np.full((1, 3, 2, 5), 7, dtype=np.float32)
    padded = pad(normalized, (4, 6))
    assert padded.shape == (1, 3, 4, 6)
    assert padded.dtype == np.float32
    np.testing.assert_array_equal(padded[:, :, :2, :5], normalized)
    assert padded.sum() == normalized.sum()


def test_the_encoders_input_is_the_three_in_turn(photo: Any) -> None:
    resized = resize(photo, 128)
    assert resized.shape == (85, 128, 3)
    prepared, input_hw = encoder_input(photo, 128)
    assert input_hw == (85, 128)
    np.testing.assert_array_equal(prepared[:, :, :85], normalize(resized))
    assert not prepared[:, :, 85:].any()


def test_the_digest_is_of_pixels_and_shape(photo: Any) -> None:
    digest = image_digest(photo)
    assert len(digest) == 64
    assert digest == hashlib.sha256(b"60x90x3" + photo.tobytes()).hexdigest()
    assert digest == image_digest(photo[::-1][::-1])
    assert digest != image_digest(photo.reshape(90, 60, 3))
    changed = photo.copy()
    changed[0, 0, 0] ^= 1
    assert digest != image_digest(changed)


@pytest.mark.parametrize("name", REFERENCE_SHA256)
def test_photos_and_their_resizing_are_the_references(name: str) -> None:
    image = read_image(getattr(skimage.data, name)())
    pixels, resized = REFERENCE_SHA256[name]
    assert hashlib.sha256(image).hexdigest() == pixels
    assert hashlib.sha256(np.ascontiguousarray(resize(image, 1024))).hexdigest() == resized
