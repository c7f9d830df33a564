"""Overlays of masks: translucent fills, outlines and prompts."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from mobilesam.arrays import BoolArray, FloatArray64, UInt8Array
from mobilesam.errors import InputError, sentence

FOREGROUND_COLOR = (24, 160, 88)
BACKGROUND_COLOR = (220, 50, 60)
WHITE = (255, 255, 255)
SHADOW = (20, 20, 20)

_GOLDEN_ANGLE = 137.50776  # degrees, which spaces any number of hues evenly
_BAND = 256  # rows blended at a time, so that a large image is not copied for each mask
_SUBPIXEL_BITS = 4  # OpenCV draws in fixed point; sixteenths of a pixel


def palette(count: int) -> UInt8Array:
    """Return ``count`` distinct colors, (count, 3) uint8 RGB; the first ones are the same for every count.

    Hues step by the golden angle at similar lightness and equal chroma in the OKLab space (Ottosson, 2020).
    """
    index = np.arange(count)
    hue = np.deg2rad(255 + _GOLDEN_ANGLE * index)
    lightness = np.choose(index // 8 % 3, [0.70, 0.58, 0.82])
    a, b = 0.19 * np.cos(hue), 0.19 * np.sin(hue)
    cone = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ],
        axis=-1,
    )
    to_linear_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(cone**3 @ to_linear_rgb.T, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colors: UInt8Array = np.rint(255 * srgb).astype(np.uint8)
    return colors


def overlay(
    image: UInt8Array,
    masks: Sequence[BoolArray] | BoolArray = (),
    *,
    point_coords: npt.ArrayLike = (),
    point_labels: npt.ArrayLike = (),
    boxes: npt.ArrayLike = (),
    alpha: float = 0.45,
) -> UInt8Array:
    """Draw masks and prompts over an image and return the new image, (H, W, 3) uint8 RGB.

    Mask i has color i of :func:`palette`. Smaller masks are drawn over larger ones, and each is blended with the image,
    not with the masks below. The size of lines and dots depends on the size of the image.

    Args:
        image: (H, W, 3) uint8 RGB; it is not changed.
        masks: N masks, each (H, W) bool.
        point_coords: (P, 2) x y in pixels; points outside the image are not drawn.
        point_labels: (P,) 1 foreground (a green plus), 0 background (a red minus).
        boxes: (B, 4) x1 y1 x2 y2 in pixels, clipped to the image.
        alpha: opacity of the fill, 0 to 1.

    Raises:
        InputError: the image, a mask or a prompt has another shape or type.
    """
    _check(image, masks)
    points = _rows(point_coords, 2, "point_coords")
    labels = np.asarray(point_labels).reshape(-1)
    corners = _rows(boxes, 4, "boxes")
    if len(labels) != len(points):
        requirement = f"have one label for each point ({len(points)})"
        raise InputError(sentence("point_labels", requirement, len(labels), "pass one label for each point"))
    if not 0 <= alpha <= 1:
        raise InputError(sentence("alpha", "be from 0 to 1", alpha, "leave it out for 0.45"))

    result = image.copy()
    width = _line_width(image)
    colors = palette(len(masks))
    areas = [int(np.count_nonzero(mask)) for mask in masks]
    for index in sorted(range(len(masks)), key=lambda i: -areas[i]):
        if areas[index]:
            _paint(result, image, np.asarray(masks[index]), colors[index], alpha, width)
    for box in corners:
        _draw_box(result, box, width)
    for point, label in zip(points, labels, strict=True):
        _draw_point(result, point, bool(label == 1), width)
    return result


def _check(image: UInt8Array, masks: Sequence[BoolArray] | BoolArray) -> None:
    if getattr(image, "dtype", None) != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        actual = f"{getattr(image, 'shape', type(image).__name__)} {getattr(image, 'dtype', '')}".strip()
        raise InputError(sentence("image", "be (H, W, 3) uint8 RGB", actual, "see mobilesam.image.read.read_image"))
    for mask in masks:
        if mask.shape != image.shape[:2] or mask.dtype != np.bool_:
            requirement = f"be {image.shape[:2]} bool, like the image"
            actual = f"{mask.shape} {mask.dtype}"
            raise InputError(sentence("each mask", requirement, actual, "pass the masks of predict"))


def _rows(values: npt.ArrayLike, columns: int, name: str) -> FloatArray64:
    array = np.asarray(values, dtype=np.float64)
    if array.size and (array.shape[-1] != columns or np.isnan(array).any()):
        actual = "NaN" if array.shape[-1] == columns else array.shape
        raise InputError(sentence(name, f"be (N, {columns}) numbers", actual, "pass one row for each"))
    return array.reshape(-1, columns)


def _line_width(image: UInt8Array) -> float:
    """Return the width of outlines in pixels: 1.5 on a thumbnail, 3 at 1000 pixels, 19 at 30 megapixels."""
    return max(1.5, 0.003 * float(np.sqrt(image.shape[0] * image.shape[1])))


def _paint(
    result: UInt8Array, image: UInt8Array, mask: BoolArray, color: UInt8Array, alpha: float, width: float
) -> None:
    """Blend one mask's color into ``result``, in the mask's own window only, and outline it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    table = np.rint(np.arange(256)[:, None] * (1 - alpha) + color * alpha).astype(np.uint8).reshape(1, 256, 3)
    for top in range(rows[0], rows[-1] + 1, _BAND):
        band = np.s_[top : min(top + _BAND, rows[-1] + 1), columns[0] : columns[-1] + 1]
        np.copyto(result[band], cv2.LUT(image[band], table), where=mask[band][..., None])

    contours, _ = cv2.findContours(
        mask[window].view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=(int(columns[0]), int(rows[0]))
    )
    outlines = [_fixed_point(_smooth(np.asarray(contour, np.int32)[:, 0], width)) for contour in contours]
    speckles = [
        outline for outline in outlines if len(outline) <= 6 * width
    ]  # thinner, because a full line would enlarge them
    outlines = [outline for outline in outlines if len(outline) > 6 * width]
    if width > 2:  # a thin dark edge makes the outline visible on any background
        cv2.polylines(result, outlines, True, SHADOW, round(width) + 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.polylines(result, outlines, True, color.tolist(), round(width), cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.polylines(result, speckles, True, color.tolist(), 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _smooth(contour: npt.NDArray[np.int32], width: float) -> FloatArray64:
    """Smooth the pixel steps of a closed contour, (N, 2), with a moving average."""
    reach = min(max(1, round(width)), (len(contour) - 1) // 8)
    total = sum(np.roll(contour, shift, axis=0) for shift in range(-reach, reach + 1))
    return np.asarray(total, dtype=np.float64) / (2 * reach + 1)


def _fixed_point(points: FloatArray64) -> npt.NDArray[np.int32]:
    return np.rint(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _draw_box(result: UInt8Array, box: FloatArray64, width: float) -> None:
    height, breadth = result.shape[:2]
    x1, y1, x2, y2 = np.clip(box, 0, [breadth - 1, height - 1] * 2)
    corners = [_fixed_point(np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]))]
    stroke = max(1, round(0.7 * width))
    cv2.polylines(result, corners, True, SHADOW, stroke + 2, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.polylines(result, corners, True, WHITE, stroke, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_point(result: UInt8Array, point: FloatArray64, foreground: bool, width: float) -> None:
    """Draw a dot with a white rim and a plus or minus sign, which does not depend on color vision."""
    height, breadth = result.shape[:2]
    if not (0 <= point[0] < breadth and 0 <= point[1] < height):
        return
    radius = max(6.0, 3.2 * width)
    center = _fixed_point(point).tolist()

    def disc(size: float, color: tuple[int, int, int]) -> None:
        scaled = round(size * (1 << _SUBPIXEL_BITS))
        cv2.circle(result, center, scaled, color, -1, cv2.LINE_AA, _SUBPIXEL_BITS)

    disc(radius * 1.42, SHADOW)
    disc(radius * 1.32, WHITE)
    disc(radius, FOREGROUND_COLOR if foreground else BACKGROUND_COLOR)
    arm, stroke = radius * 0.55, max(1, round(radius * 0.3))
    for step in [(arm, 0.0), (0.0, arm)] if foreground else [(arm, 0.0)]:
        ends = _fixed_point(np.array([point - step, point + step])).tolist()
        cv2.line(result, ends[0], ends[1], WHITE, stroke, cv2.LINE_AA, _SUBPIXEL_BITS)
