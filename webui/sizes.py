"""How much memory a visitor's state takes."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

_NUMBER = 32  # bytes of a Python number; small integers are shared and take none


def size_of(value: Any, seen: set[int] | None = None) -> int:
    """Return about how many bytes a value takes with all that it holds; what is held twice counts once.

    Args:
        value: made of dataclasses, tuples, lists, dicts, arrays, strings and numbers. A sequence whose first item is
            a number is taken to hold numbers only.
        seen: the ids of the objects that were counted before, to which those of this value are added.
    """
    seen = set() if seen is None else seen
    if value is None or id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return value.nbytes if value.base is None else size_of(value.base, seen)
    if isinstance(value, int | float | str | bytes):
        return sys.getsizeof(value)
    size = sys.getsizeof(value)
    if isinstance(value, tuple | list):
        if value and isinstance(value[0], int | float):
            return size + _NUMBER * len(value)
        return size + sum(size_of(item, seen) for item in value)
    if isinstance(value, dict):
        return size + sum(size_of(key, seen) + size_of(item, seen) for key, item in value.items())
    if is_dataclass(value):
        return size + sum(size_of(getattr(value, field.name), seen) for field in fields(value))
    return size
