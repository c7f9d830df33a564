"""The routes of the page beside those of Gradio: they send bytes, and report the progress of long runs.

The header ``X-Session`` contains the token of a session, which the page gets from a server function that Gradio guards
with ``--auth``. The header ``X-Image`` contains the key of the image that a request is about; if another image is open,
the request is refused.
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
from mobilesam.webui import view
from mobilesam.webui.bodies import IMAGE_PATH, BodyStore
from mobilesam.webui.everything import Everything, EverythingResult, everything_view
from mobilesam.webui.failures import explained, failure, status_of
from mobilesam.webui.saving import Saved, save
from mobilesam.webui.service import Opened, Service
from mobilesam.webui.workers import Job

STATIC = Path(__file__).parent / "static"
_TICK = 0.2  # seconds between progress reports

_PRIVATE = {"Cache-Control": "no-store"}

Emit = Callable[[dict[str, Any]], object]
Result = TypeVar("Result")


def add_routes(app: FastAPI, service: Service, everything: Everything, store: BodyStore) -> None:
    """Add the routes of the page and ``/health`` to an application."""
    app.mount("/service/static", StaticFiles(directory=STATIC), name="service-static")

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
            "sessions": len(service.sessions),
            "sessions_mb": round(service.sessions.used / 1e6, 1),
            "encoding": service.encoders.busy(),
            "saving": service.savers.busy(),
            "cached_mb": round(cached / 1e6, 1),
            "receiving": store.receiving,
            "received_mb": round(store.held / 1e6, 1),
            "uploads_mb": round(stored / 1e6, 1),
        }

    @app.get("/gradio_api/heartbeat/{name}")
    @app.get("/gradio_api/upload_progress")
    async def not_offered() -> Response:
        """Replace routes of Gradio that keep a connection open, or memory forever, for each name in a request.

        Neither the page nor gradio_client needs them.
        """
        return Response(status_code=404)

    @app.post(IMAGE_PATH)
    async def open_image(request: Request) -> StreamingResponse:
        token, _ = _session_of(request)
        content = await request.body()
        name = _file_name(request.headers.get("x-file-name", ""))

        def start(emit: Emit) -> Job[Opened]:
            return service.open(token, content, name, lambda state: emit({"image": view.session_view(state, None)}))

        return _follow(start, lambda opened: _opened_view(service, token, opened))

    @app.post("/service/model/{name}")
    async def switch_model(request: Request, name: str) -> StreamingResponse:
        token, key = _session_of(request)
        return _follow(lambda _: service.switch(token, name, key), lambda opened: _opened_view(service, token, opened))

    @app.get("/service/preview")
    async def preview(request: Request) -> Response:
        image = service.image(service.session(*_session_of(request)))
        jpeg: bytes = await _result(service.previews.submit(lambda: view.preview(image)))
        return Response(jpeg, media_type="image/jpeg", headers=_PRIVATE)

    @app.post("/service/everything")
    async def run_everything(request: Request) -> StreamingResponse:
        (token, key), mode = _session_of(request), (await _json(request)).get("mode")
        reported = 0.0

        def start(emit: Emit) -> Job[EverythingResult]:
            def progress(done: int, total: int, candidates: int) -> None:
                nonlocal reported
                if time.monotonic() - reported > _TICK:
                    reported = time.monotonic()
                    emit({"progress": {"done": done, "total": total, "candidates": candidates}})

            return everything.start(token, mode, progress, key)

        return _follow(start, everything_view, lambda job: everything.cancel(token, job))

    @app.post("/service/save/{kind}")
    async def save_file(request: Request, kind: str) -> Response:
        (token, key), body = _session_of(request), await _json(request)
        source, selected, run = body.get("source", "prompt"), body.get("selected", []), body.get("run")
        get = service.with_candidates if source == "prompt" else service.session
        session = await run_in_threadpool(get, token, key)
        saved: Saved = await _result(service.savers.submit(lambda: save(service, session, kind, source, selected, run)))
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(saved.name)}"}
        return Response(saved.content, media_type=saved.media_type, headers=headers | _PRIVATE)


def _opened_view(service: Service, token: str, opened: Opened) -> dict[str, Any]:
    """Return the state after encoding, with the masks for its prompt if it has one."""
    image = opened.session.image
    session = service.act(token, [], "" if image is None else image.key)
    return {"encode_ms": round(opened.encode_ms, 1)} | view.result_view(session, service.models.get(session.model))


def _follow(
    start: Callable[[Emit], Job[Any]],
    finish: Callable[[Any], dict[str, Any]],
    on_leave: Callable[[Job[Any]], object] = lambda _: None,
) -> StreamingResponse:
    """Start a job and stream its progress, one JSON object a line.

    The lines are ``{"waiting": place}`` while the job is queued, the objects that it emits, and at the end
    ``{"done": finish(result)}`` or an error. If the client disconnects before the end, a queued job is canceled, and
    ``on_leave`` is called with the job.
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


def _session_of(request: Request) -> tuple[str, str | None]:
    """Return the token of a request and the key of its image, "" for no image, None if there is no such header."""
    return request.headers.get("x-session", ""), request.headers.get("x-image")


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise InputError(sentence("the request body", "be JSON", f"{error}", "correct it")) from error
    if not isinstance(body, dict):
        raise InputError(sentence("the request body", "be a JSON object", type(body).__name__, "put it into braces"))
    return body


async def _result(job: Job[Result]) -> Result:
    """Return the result of a job without blocking the event loop.

    Raises:
        MobileSamError: any error of the job; see :func:`explained`.
    """
    loop, finished = asyncio.get_running_loop(), asyncio.Event()
    job.future.add_done_callback(lambda _: None if loop.is_closed() else loop.call_soon_threadsafe(finished.set))
    await finished.wait()
    try:
        return job.result()
    except Exception as error:
        raise explained(error) from error


def _file_name(header: str) -> str:
    """Return the last part of a file name, without characters that file systems refuse."""
    name = re.sub(r'[\x00-\x1f<>:"|?*]', "", unquote(header).replace("\\", "/").rpartition("/")[2]).strip(". ")
    return name[-100:] or "image"
