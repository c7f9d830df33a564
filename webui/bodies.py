"""Request bodies: received completely before the application runs, within limits of size, time and memory.

When all bodies together reach a limit, the one that has received nothing for the longest time is dropped, so that
stalled clients do not block active ones. A small body, such as a click, is never dropped to free memory.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilesam.errors import InputError, sentence
from mobilesam.webui.failures import failure, status_of
from mobilesam.webui.session_store import SessionExpiredError
from mobilesam.webui.uploads import UploadError, UploadFolder

IMAGE_PATH = "/service/image"
FORM_PATH = "/gradio_api/upload"
SAVE_PATH = "/service/save/"  # and a format

MAX_JSON = 1_000_000  # bytes of a body without a file
MAX_OBJECTS_JSON = 16_000_000  # bytes of the objects to save
_FORM = 100_000  # bytes of a form, without its file
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


class BodyStore:
    """The bodies of all requests.

    held: bytes in memory, including those of requests that are being processed. check_token: raises
    SessionExpiredError for an unknown token, for which no image is received.
    """

    def __init__(
        self, max_upload_mb: int, folder: UploadFolder, check_token: Callable[[str], object] = lambda _: None
    ) -> None:
        self.check_token = check_token
        self.max_upload_mb = max_upload_mb
        self.folder = folder
        self.held = 0
        self._limit = MAX_FILES_IN_MEMORY * (max_upload_mb * 1_000_000 + _FORM)
        self._receiving: dict[_Body, None] = {}  # the one that has received nothing for the longest time first

    @property
    def receiving(self) -> int:
        """The number of bodies being received."""
        return len(self._receiving)

    def limit(self, path: str) -> int:
        """Return the largest size of the body of a request to a path, bytes."""
        file = self.max_upload_mb * 1_000_000
        if path.startswith(SAVE_PATH):
            return MAX_OBJECTS_JSON
        return file if path == IMAGE_PATH else file + _FORM if path == FORM_PATH else MAX_JSON

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
        body = _Body()
        try:
            if scope["path"] == IMAGE_PATH or scope["path"].startswith(SAVE_PATH):
                self._store.check_token(headers.get("x-session", ""))
            if not await self._read(body, receive, scope["path"], int(length)):
                return
            if scope["path"] == FORM_PATH:
                await run_in_threadpool(self._store.folder.check, self._store.held)
                scope = {**scope, "query_string": b""}  # Gradio keeps the progress of an upload_id forever
            await self._app(scope, _replay(body, receive), send)
        except (UploadError, SessionExpiredError) as error:
            await JSONResponse(failure(error), status_of(error))(scope, receive, send)
        finally:
            self._store.release(body)

    async def _read(self, body: _Body, receive: Receive, path: str, declared: int) -> bool:
        """Receive a body; return False if the client disconnects.

        Raises:
            UploadError: the body is too large or too slow, or was dropped.
        """
        limit, received, more = self._store.limit(path), 0, True
        if declared > limit:
            raise _too_large(path, limit, f"{declared / 1e6:.1f} MB")
        self._store.add(body, b"")
        while more:
            message = await _next(body, receive)
            if message["type"] == "http.disconnect":
                return False
            chunk, more = message.get("body", b""), message.get("more_body", False)
            received += len(chunk)
            if received > limit:
                raise _too_large(path, limit, "more")
            self._store.add(body, chunk)
        if body.dropped.done():
            raise _dropped()
        self._store.complete(body)
        return True


async def _next(body: _Body, receive: Receive) -> Message:
    """Return the next message of the client.

    Raises:
        UploadError: the timeout expired, or the body was dropped.
    """
    task = asyncio.ensure_future(receive())
    either: set[asyncio.Future[Any]] = {task, body.dropped}
    try:
        await asyncio.wait(either, timeout=body.timeout(), return_when=asyncio.FIRST_COMPLETED)
        if body.dropped.done():
            raise _dropped()
        if not task.done():
            raise UploadError(408, "The request body did not arrive in time. Send the request again.")
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


def _too_large(path: str, limit: int, actual: str) -> UploadError:
    if path not in (IMAGE_PATH, FORM_PATH):
        return UploadError(413, sentence("the request body", f"have at most {limit} bytes", actual, "send less"))
    remedy = "shrink it, or start the server with a larger --max-upload-mb"
    return UploadError(413, sentence("the file", f"have at most {limit / 1e6:.0f} MB", actual, remedy))


def _dropped() -> UploadError:
    message = "The server dropped the request: it is stopping, or receives too many at once. Send the request again."
    return UploadError(503, message)
