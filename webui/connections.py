"""HTTP connections that a client cannot hold open without going on.

uvicorn waits without limit for the end of a request's headers, for the rest of a body after its answer, and for a
client that does not read. Here each has a deadline; and when there are too many connections, the one that has waited
for longest is closed.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 512  # half of the files that a process may open on most systems
PATIENCE = 10.0  # seconds without progress


class Connection(H11Protocol):
    """uvicorn's connection, with a deadline whenever the client is the one to act."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock, and close another connection if there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._watch()
        if len(self.connections) > MAX_CONNECTIONS:
            idle = [each for each in self.connections if isinstance(each, Connection) and each._timer is not None]
            min(idle, key=Connection._deadline).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Stop the clock once there is a request to work on."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Start the clock again."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        working = self.cycle is not None and not self.cycle.response_complete
        if working and self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(PATIENCE, self._expire)

    def _expire(self) -> None:
        """Close the connection, unless the client still reads a long answer."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        self._timer = None
        if self._unsent and (not before or self._unsent < before):
            self._watch()
        else:
            self.transport.abort()

    def _stop(self) -> None:
        self._unsent = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _deadline(self) -> float:
        return self._timer.when() if self._timer else float("inf")
