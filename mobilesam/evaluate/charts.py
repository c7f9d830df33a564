"""Small charts drawn with Pillow: one plot area, thin axes, no dependency on a plotting library."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mobilesam.arrays import UInt8Array

RGB = tuple[int, int, int]
INK: RGB = (40, 44, 52)
MUTED: RGB = (120, 126, 138)
GRID: RGB = (226, 229, 234)

_OVERSAMPLING = 3  # drawn larger and shrunk: Pillow does not smooth its lines


def font(points: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that Pillow carries."""
    return ImageFont.load_default(size=points)


class Chart:
    """A plot area with linear axes, in data coordinates.

    Args:
        title: above the plot.
        x_range, y_range: first and last value of each axis.
        x_label, y_label: what the axes show, with the unit.
    """

    def __init__(
        self,
        title: str,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        x_label: str,
        y_label: str,
        size: tuple[int, int] = (640, 380),
    ) -> None:
        self.x_range, self.y_range = x_range, y_range
        self._size = size
        self._image = Image.new("RGB", (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING), "white")
        self._draw = ImageDraw.Draw(self._image, "RGBA")
        self._left, self._right, self._top, self._bottom = 62, size[0] - 24, 52, size[1] - 52
        self.text((self._left, 18), title, 17, INK, "ls", data=False, dy=10)
        self.text(((self._left + self._right) / 2, size[1] - 12), x_label, 13, MUTED, "ms", data=False)
        self.text((self._left, self._top - 8), y_label, 12, MUTED, "ls", data=False)

    def x_ticks(self, values: Sequence[float], form: str = "{:g}") -> None:
        """Label values along the x axis."""
        for value in values:
            self.text((value, self.y_range[0]), form.format(value), 12, MUTED, "mt", dy=8)

    def y_ticks(self, values: Sequence[float], form: str = "{:g}") -> None:
        """Label values along the y axis, each with a line across the plot."""
        for value in values:
            self.line([(self.x_range[0], value), (self.x_range[1], value)], GRID, 1)
            self.text((self.x_range[0], value), form.format(value), 12, MUTED, "rm", dx=-8)

    def bar(self, x_low: float, x_high: float, height: float, color: RGB) -> None:
        """Draw a bar from the x axis to ``height``, one pixel narrower than its range on either side."""
        (left, top), (right, bottom) = self._pixel((x_low, height)), self._pixel((x_high, self.y_range[0]))
        if bottom > top:
            self._draw.rectangle((left + _OVERSAMPLING, top, right - _OVERSAMPLING, bottom), fill=color)

    def band(self, x: Sequence[float], low: Sequence[float], high: Sequence[float], color: RGB) -> None:
        """Fill between two curves, translucently."""
        upper, lower = list(zip(x, high, strict=True)), list(zip(x, low, strict=True))[::-1]
        self._draw.polygon([self._pixel(point) for point in upper + lower], fill=(*color, 45))

    def line(self, points: Sequence[tuple[float, float]], color: RGB, width: float, dots: float = 0) -> None:
        """Draw a line through points; ``dots`` is the radius of a dot on each."""
        pixels = [self._pixel(point) for point in points]
        self._draw.line(pixels, fill=color, width=round(width * _OVERSAMPLING), joint="curve")
        radius = dots * _OVERSAMPLING
        for x, y in pixels if dots else ():
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)

    def text(
        self,
        place: tuple[float, float],
        text: str,
        points: float,
        color: RGB,
        anchor: str,
        *,
        data: bool = True,
        dx: float = 0,
        dy: float = 0,
    ) -> None:
        """Write text; ``place`` is in data coordinates, or in pixels if ``data`` is false; dx and dy are pixels."""
        x, y = self._pixel(place) if data else (place[0] * _OVERSAMPLING, place[1] * _OVERSAMPLING)
        where = (x + dx * _OVERSAMPLING, y + dy * _OVERSAMPLING)
        halo = 3 * _OVERSAMPLING if data else 0
        self._draw.text(
            where, text, color, font(points * _OVERSAMPLING), anchor, stroke_width=halo, stroke_fill="white"
        )

    def render(self) -> UInt8Array:
        """Return the chart as (H, W, 3) uint8 RGB."""
        return np.asarray(self._image.resize(self._size, Image.Resampling.LANCZOS))

    def _pixel(self, point: tuple[float, float]) -> tuple[float, float]:
        x_share = (point[0] - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        y_share = (point[1] - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        x = self._left + x_share * (self._right - self._left)
        y = self._bottom - y_share * (self._bottom - self._top)
        return x * _OVERSAMPLING, y * _OVERSAMPLING
