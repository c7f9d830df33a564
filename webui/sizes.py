"""The memory that the state of a session takes."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

_NUMBER = 32  # bytes of a Python number; small integers are shared and take none


def size_of(value: Any, seen: set[int] | None = None) -> int:
    """Return about how many bytes a value takes with its contents; an object that occurs twice counts once.

    Args:
        value: made of dataclasses, tuples, lists, dicts, arrays, strings and numbers. A sequence whose first item is
            a number is assumed to contain only numbers.
        seen: the ids of objects that were counted before; the ids of this value's objects are added.
    """
    seen = set() if seen is None else seen
    if value is None or id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return value.nbytes if value.base is None else size_of(value.base, seen)
    size = sys.getsizeof(value)
    if isinstance(value, tuple | list):
        if value and isinstance(value[0], int | float):
            return size + _NUMBER * len(value)
        parts = value
    elif isinstance(value, dict):
        parts = [*value, *value.values()]
    else:
        parts = [getattr(value, field.name) for field in fields(value)] if is_dataclass(value) else []
    return size + sum(size_of(part, seen) for part in parts)
