"""What was computed for pictures, kept while there is room: the least recently used goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

Value = TypeVar("Value")


class _Entry(NamedTuple, Generic[Value]):
    value: Value
    size: int


class ByteCache(Generic[Value]):
    """A map of at most ``limit`` bytes; several threads may use it.

    The newest entry always stays, even one larger than the limit: its visitor is at work on it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: OrderedDict[Hashable, _Entry[Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """Return what is kept under a key, which makes it the newest, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key].value

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep a value of ``size`` bytes, and drop the oldest ones that then do not fit."""
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = _Entry(value, size)
            total = sum(entry.size for entry in self._entries.values())
            while total > self.limit and len(self._entries) > 1:
                total -= self._entries.popitem(last=False)[1].size

    @property
    def used(self) -> int:
        """Bytes in use."""
        with self._lock:
            return sum(entry.size for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)
