"""A cache limited in bytes, which drops the least recently used values first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """A map of at most ``limit`` bytes; several threads may use it.

    The newest entry is always kept, even one larger than the limit, since it is in use.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """Return the value of a key, which becomes the newest, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep a value of ``size`` bytes, and drop the oldest ones that exceed the limit."""
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = value, size
            while self._total() > self.limit and len(self._entries) > 1:
                self._entries.popitem(last=False)

    @property
    def used(self) -> int:
        """Bytes in use."""
        with self._lock:
            return self._total()

    def __len__(self) -> int:
        return len(self._entries)

    def _total(self) -> int:
        return sum(size for _, size in self._entries.values())
