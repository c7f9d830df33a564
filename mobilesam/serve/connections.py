"""HTTP connections with deadlines for the client.

uvicorn waits without limit for the end of the headers of a request, for the rest of a body after its response, and for
a client that does not read. Here each has a deadline. When there are too many connections, one that waits for a request
is closed, or else the one with the oldest GET request.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 512  # half of the files that a process may open on most systems
IDLE_TIMEOUT = 10.0  # seconds without progress


class Connection(H11Protocol):
    """A connection of uvicorn, closed when the client makes no progress in IDLE_TIMEOUT."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timer, and close another connection if there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._timer: asyncio.TimerHandle | None = None
        self._begin(None)
        connections = [each for each in self.connections if isinstance(each, Connection)]
        others = [each for each in connections if each is not self and not each.transport.is_closing()]
        if len(others) >= MAX_CONNECTIONS:
            min(others, key=Connection._rank).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Restart the timer if a request begins."""
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        """Restart the timer to wait for the next request."""
        super().on_response_complete()
        self._update()

    def resume_writing(self) -> None:
        """Record that the client reads."""
        super().resume_writing()
        self._has_read = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _update(self) -> None:
        """Restart the timer if a request began or its response is complete."""
        request = None if self.cycle is None or self.cycle.response_complete else self.cycle
        if request is not self._request:
            self._begin(request)

    def _begin(self, request: Any) -> None:
        self._request = request
        self._since = self.loop.time()
        self._unsent, self._has_read = 0, False
        self._restart()

    def _restart(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self.transport.is_closing() else self.loop.call_later(IDLE_TIMEOUT, self._expire)

    def _expire(self) -> None:
        """Close the connection, unless the client is reading the response or the server is preparing it."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        reads = self._has_read or not before or self._unsent < before
        self._has_read = False
        if reads if self._unsent else self._request is not None:
            self._restart()
        else:
            self.transport.abort()

    def _rank(self) -> tuple[bool, bool, float]:
        """Return a sort key: idle connections first, then GET requests, each the oldest first."""
        return self._request is not None, self._request is not None and self.scope["method"] != "GET", self._since
