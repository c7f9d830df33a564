"""Routes beside Gradio's, for what its server functions cannot do: send bytes, and tell how far a long run is.

A visitor's token in the header ``X-Visitor`` is the key to all of them. The page gets it from a server function, which
Gradio guards with ``--auth``. The header ``X-Picture`` holds the key of the picture that a request is about; if another
one is open, the request is refused.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from mobilesam._version import __version__
from mobilesam.errors import InputError, MobileSamError, sentence
from mobilesam.webui import wire
from mobilesam.webui.bodies import IMAGE_PATH, Store
from mobilesam.webui.everything import Everything, Found, found_view
from mobilesam.webui.failures import explained, failure, status_of
from mobilesam.webui.saving import Saved, save
from mobilesam.webui.service import Opened, Service
from mobilesam.webui.session import Session
from mobilesam.webui.view import answer_view, session_view
from mobilesam.webui.workers import Job

STATIC = Path(__file__).parent / "static"
_TICK = 0.2  # seconds between looks at a job's place in the queue

_PRIVATE = {"Cache-Control": "no-store"}

Emit = Callable[[dict[str, Any]], object]
Result = TypeVar("Result")


def add_routes(app: FastAPI, service: Service, everything: Everything, store: Store) -> None:
    """Add the page's routes and ``/health`` to an application."""
    app.mount("/studio/static", StaticFiles(directory=STATIC), name="studio-static")

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        shown = explained(error)
        return JSONResponse(failure(shown), status_of(shown))

    for kind in (MobileSamError, MemoryError):
        app.add_exception_handler(kind, refuse)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        stored, _ = await run_in_threadpool(store.folder.used)
        cached = service.images.used + service.embeddings.used + service.feedback.used
        return {
            "status": "ok",
            "version": __version__,
            "models": list(service.models.labels()),
            "visitors": len(service.visitors),
            "visitors_mb": _megabytes(service.visitors.used),
            "encoding": service.encoders.busy(),
            "saving": service.savers.busy(),
            "cached_mb": _megabytes(cached),
            "receiving": store.receiving,
            "received_mb": _megabytes(store.held),
            "uploads_mb": _megabytes(stored),
        }

    @app.get("/gradio_api/heartbeat/{name}")
    @app.get("/gradio_api/upload_progress")
    async def not_offered() -> Response:
        """Take the place of Gradio's routes, which hold a connection, or memory for good, for each name in a request.

        Neither the page nor gradio_client needs them.
        """
        return Response(status_code=404)

    @app.post(IMAGE_PATH)
    async def open_image(request: Request) -> StreamingResponse:
        token = _token(request)
        content = await request.body()
        name = _file_name(request.headers.get("x-file-name", ""))

        def start(emit: Emit) -> Job[Opened]:
            return service.open(token, content, name, lambda session: emit({"image": session_view(session, None)}))

        return _follow(start, lambda opened: _opened_view(service, token, opened))

    @app.post("/studio/model/{name}")
    async def switch_model(request: Request, name: str) -> StreamingResponse:
        token = _token(request)
        key = _image_key(request)
        return _follow(lambda _: service.switch(token, name, key), lambda opened: _opened_view(service, token, opened))

    @app.get("/studio/preview")
    async def preview(request: Request) -> Response:
        image = service.image(service.session(_token(request), _image_key(request)))
        jpeg: bytes = await _result(service.previews.submit(lambda: wire.preview(image)))
        return Response(jpeg, media_type="image/jpeg", headers=_PRIVATE)

    @app.post("/studio/everything")
    async def run_everything(request: Request) -> StreamingResponse:
        token, key, mode = _token(request), _image_key(request), (await _json(request)).get("mode")
        told = 0.0

        def start(emit: Emit) -> Job[Found]:
            def progress(done: int, total: int, found: int) -> None:
                nonlocal told
                if time.monotonic() - told > _TICK:
                    told = time.monotonic()
                    emit({"progress": {"done": done, "total": total, "found": found}})

            return everything.start(token, mode, progress, key)

        return _follow(start, found_view, lambda job: everything.cancel(token, job))

    @app.post("/studio/save/{kind}")
    async def save_file(request: Request, kind: str) -> Response:
        token, key, body = _token(request), _image_key(request), await _json(request)
        source, selected, run = body.get("source", "prompt"), body.get("selected", []), body.get("run")
        session = await run_in_threadpool(service.with_answer if source == "prompt" else service.session, token, key)
        saved: Saved = await _result(service.savers.submit(lambda: save(service, session, kind, source, selected, run)))
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(saved.name)}"}
        return Response(saved.content, media_type=saved.media_type, headers=headers | _PRIVATE)


def _opened_view(service: Service, token: str, opened: Opened) -> dict[str, Any]:
    """Return the state after encoding; a prompt that is still there is answered anew."""
    image = opened.session.image
    session: Session = service.act(token, [], "" if image is None else image.key)
    return {"encode_ms": round(opened.encode_ms, 1)} | answer_view(session, service.models.get(session.model))


def _follow(
    start: Callable[[Emit], Job[Any]],
    finish: Callable[[Any], dict[str, Any]],
    on_leave: Callable[[Job[Any]], object] = lambda _: None,
) -> StreamingResponse:
    """Start a job and stream what becomes of it, one JSON object a line.

    ``{"waiting": place}`` while it is queued, what it emits, and at last ``{"done": finish(result)}`` or an error. If
    the reader leaves before the end, a job that has not begun is cancelled, and ``on_leave`` called with the job.
    """
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def emit(event: dict[str, Any] | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(events.put_nowait, event)

    job = start(emit)
    job.future.add_done_callback(lambda _: emit(None))

    async def lines() -> AsyncIterator[str]:
        place = 0
        try:
            while True:
                try:
                    event = await asyncio.wait_for(events.get(), _TICK)
                except TimeoutError:
                    if job.position() != place:
                        place = job.position()
                        yield _line({"waiting": place})
                    continue
                if event is None:
                    break
                yield _line(event)
            yield _line({"done": await run_in_threadpool(lambda: finish(job.result()))})
        except Exception as error:
            yield _line(failure(explained(error)))
        finally:
            if not job.future.done():
                job.future.cancel()
                on_leave(job)

    return StreamingResponse(lines(), media_type="application/x-ndjson", headers=_PRIVATE)


def _line(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":")) + "\n"


def _token(request: Request) -> str:
    return request.headers.get("x-visitor", "")


def _image_key(request: Request) -> str | None:
    """Return the key of the picture that a request is about, "" for none, or None if it does not say."""
    return request.headers.get("x-picture")


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise InputError(sentence("the request", "be JSON", f"{error}", "correct it")) from error
    if not isinstance(body, dict):
        raise InputError(sentence("the request", "be a JSON object", type(body).__name__, "put it into braces"))
    return body


async def _result(job: Job[Result]) -> Result:
    """Wait for a job without a thread, and return its result.

    Raises:
        MobileSamError: what went wrong, whatever it was.
    """
    loop, finished = asyncio.get_running_loop(), asyncio.Event()
    job.future.add_done_callback(lambda _: None if loop.is_closed() else loop.call_soon_threadsafe(finished.set))
    await finished.wait()
    try:
        return job.result()
    except Exception as error:
        raise explained(error) from error


def _megabytes(size: int) -> float:
    return round(size / 1e6, 1)


def _file_name(header: str) -> str:
    """Return the last part of the name the page gave, without what no file system likes."""
    name = re.sub(r'[\x00-\x1f<>:"|?*]', "", unquote(header).replace("\\", "/").rpartition("/")[2]).strip(". ")
    return name[-100:] or "picture"
