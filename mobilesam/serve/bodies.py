"""Request bodies: received completely before the application runs, within limits of size, time and memory.

When all bodies together reach a limit, the one that has received nothing for the longest time is dropped, so that
stalled clients do not block active ones. A small body, such as a click, is never dropped to free memory.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilesam.errors import InputError, MobileSamError, sentence
from mobilesam.serve.failures import RefusedError, failure, status_of

MAX_JSON = 1_000_000  # bytes of a body without a file
FORM = 100_000  # bytes of a form, without its file
_SMALL = 64_000  # bytes of a body that is not dropped to free memory

MAX_BODIES = 128  # received at the same time
MAX_FILES_IN_MEMORY = 8  # of the largest size

# Seconds without a byte, and seconds for a whole body plus its size over the slowest rate.
_IDLE, _WHOLE, _BYTES_PER_SECOND = 10.0, 20.0, 10_000


class _Body:
    """A body in memory."""

    def __init__(self) -> None:
        self.size = 0
        self.chunks: deque[bytes] = deque()
        self.started = time.monotonic()
        self.dropped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def timeout(self) -> float:
        """Return the seconds until the next bytes must arrive."""
        deadline = self.started + _WHOLE + self.size / _BYTES_PER_SECOND
        return max(0.0, min(_IDLE, deadline - time.monotonic()))


class Rules:
    """What an application accepts; the base of its own rules."""

    def __init__(self, max_upload_mb: int) -> None:
        self.max_upload_mb = max_upload_mb

    def has_file(self, path: str) -> bool:
        """Return whether the body of a request to a path is, or contains, an image file."""
        return False

    def limit(self, path: str) -> int:
        """Return the largest size of the body of a request to a path, bytes."""
        return self.max_upload_mb * 1_000_000 + FORM if self.has_file(path) else MAX_JSON

    def check(self, path: str, headers: Headers) -> None:
        """Raise MobileSamError for a request whose body is not received."""

    async def received(self, scope: Scope, held: int) -> Scope:
        """Return the scope of a request whose body was received; ``held`` is the size of all bodies, bytes.

        Raises:
            MobileSamError: the request is refused.
        """
        return scope

    def response(self, error: MobileSamError) -> Response:
        """Return the response to a request that is refused."""
        return JSONResponse(failure(error), status_of(error))


class BodyStore:
    """The bodies of all requests.

    held: bytes in memory, including those of requests that are being processed.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.held = 0
        self._limit = MAX_FILES_IN_MEMORY * (rules.max_upload_mb * 1_000_000 + FORM)
        self._receiving: dict[_Body, None] = {}  # the one that has received nothing for the longest time first

    @property
    def receiving(self) -> int:
        """The number of bodies being received."""
        return len(self._receiving)

    def add(self, body: _Body, chunk: bytes) -> None:
        """Add a chunk to a body, and drop bodies while they exceed the limits."""
        self._receiving.pop(body, None)
        self._receiving[body] = None
        body.chunks.append(chunk)
        body.size += len(chunk)
        self.held += len(chunk)
        while len(self._receiving) > MAX_BODIES:
            self._drop(next(iter(self._receiving)))
        while self._receiving and self.held > self._limit:
            self._drop(next((each for each in self._receiving if each.size > _SMALL), next(iter(self._receiving))))

    def close(self) -> None:
        """Drop all bodies that are being received."""
        for body in list(self._receiving):
            self._drop(body)

    def complete(self, body: _Body) -> None:
        """Record that a body has been received."""
        self._receiving.pop(body, None)

    def release(self, body: _Body) -> None:
        """Free the memory of a body."""
        self._receiving.pop(body, None)
        self.held -= body.size
        body.size = 0
        body.chunks.clear()

    def _drop(self, body: _Body) -> None:
        self.release(body)
        if not body.dropped.done():
            body.dropped.set_result(None)


class Bodies:
    """ASGI middleware that receives request bodies for the application."""

    def __init__(self, app: ASGIApp, store: BodyStore) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        length = headers.get("content-length", "0")
        if length == "0" and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        body, rules = _Body(), self._store.rules
        try:
            try:
                rules.check(scope["path"], Headers(scope=scope))
                if not await self._read(body, receive, scope["path"], int(length)):
                    return
                scope = await rules.received(scope, self._store.held)
            except MobileSamError as error:
                await rules.response(error)(scope, receive, send)
                return
            await self._app(scope, _replay(body, receive), send)
        finally:
            self._store.release(body)

    async def _read(self, body: _Body, receive: Receive, path: str, declared: int) -> bool:
        """Receive a body; return False if the client disconnects.

        Raises:
            RefusedError: the body is too large or too slow, or was dropped.
        """
        limit, received, more = self._store.rules.limit(path), 0, True
        if declared > limit:
            raise self._too_large(path, limit, f"{declared / 1e6:.1f} MB")
        self._store.add(body, b"")
        while more:
            message = await _next(body, receive)
            if message["type"] == "http.disconnect":
                return False
            chunk, more = message.get("body", b""), message.get("more_body", False)
            received += len(chunk)
            if received > limit:
                raise self._too_large(path, limit, "more")
            self._store.add(body, chunk)
        if body.dropped.done():
            raise _dropped()
        self._store.complete(body)
        return True

    def _too_large(self, path: str, limit: int, actual: str) -> RefusedError:
        if not self._store.rules.has_file(path):
            return RefusedError(413, sentence("the request body", f"have at most {limit} bytes", actual, "send less"))
        remedy = "shrink it, or start the server with a larger --max-upload-mb"
        return RefusedError(413, sentence("the file", f"have at most {limit / 1e6:.0f} MB", actual, remedy))


async def _next(body: _Body, receive: Receive) -> Message:
    """Return the next message of the client.

    Raises:
        RefusedError: the timeout expired, or the body was dropped.
    """
    task = asyncio.ensure_future(receive())
    either: set[asyncio.Future[Any]] = {task, body.dropped}
    try:
        await asyncio.wait(either, timeout=body.timeout(), return_when=asyncio.FIRST_COMPLETED)
        if body.dropped.done():
            raise _dropped()
        if not task.done():
            raise RefusedError(408, "The request body did not arrive in time. Send the request again.")
        return task.result()
    finally:
        task.cancel()


def _replay(body: _Body, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the application the body, and then the messages of the client."""
    ended = False

    async def replay() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        chunk = body.chunks.popleft() if body.chunks else b""
        ended = not body.chunks
        return {"type": "http.request", "body": chunk, "more_body": not ended}

    return replay


def read_json(content: bytes) -> dict[str, Any]:
    """Return the JSON object in a request body; an empty one for an empty body.

    Raises:
        InputError: it is not a JSON object.
    """
    try:
        value = json.loads(content or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(sentence("the request body", "be JSON", f"{error}", "correct it")) from error
    if not isinstance(value, dict):
        raise InputError(sentence("the request body", "be a JSON object", type(value).__name__, "put it into braces"))
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _dropped() -> RefusedError:
    message = "The server dropped the request: it is stopping, or receives too many at once. Send the request again."
    return RefusedError(503, message)
