"""The parameters of requests: a part of an image, and the name of a file."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from urllib.parse import unquote

from mobilesam.errors import InputError, sentence
from mobilesam.webui import view


def crop_of(query: Mapping[str, str], hw: tuple[int, int]) -> tuple[tuple[int, int, int, int], int]:
    """Return the area, x y width height, and the longest side of the request for a part of an image.

    Raises:
        InputError: a number is missing or invalid, or the area does not lie in the image of (height, width).
    """
    numbers = {}
    for name in ("x", "y", "width", "height", "side"):
        text = query.get(name, "")
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise InputError(sentence(name, "be a whole number of pixels", reprlib.repr(text), "write it as in x=120"))
        numbers[name] = int(text)
    x, y, width, height, side = numbers.values()
    if not (width and height and x + width <= hw[1] and y + height <= hw[0]):
        actual = f"x {x}, y {y}, width {width}, height {height}"
        raise InputError(sentence("the area", f"lie in the image, {hw[1]} x {hw[0]}", actual, "ask for less"))
    if not 1 <= side <= view.PREVIEW_SIDE:
        raise InputError(sentence("side", f"be from 1 to {view.PREVIEW_SIDE}", side, "ask for a smaller image"))
    return (x, y, width, height), side


def file_name(header: str) -> str:
    """Return the last part of a file name, without characters that file systems refuse."""
    name = re.sub(r'[\x00-\x1f<>:"|?*]', "", unquote(header).replace("\\", "/").rpartition("/")[2]).strip(". ")
    return name[-100:] or "image"
