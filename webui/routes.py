"""The routes of the page beside those of Gradio: they send bytes, and report the progress of long runs.

The header ``X-Session`` contains the token of a session, which the page gets from a server function that Gradio guards
with ``--auth``. The header ``X-Image`` contains the key of the image that a request is about; if another image is open,
the request is refused.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePath
from typing import Any, TypeVar
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from mobilesam._version import __version__
from mobilesam.errors import InputError, MobileSamError, unknown_name
from mobilesam.serve.bodies import BodyStore, read_json
from mobilesam.serve.failures import explained, failure, status_of
from mobilesam.serve.values import Client
from mobilesam.serve.workers import Job
from mobilesam.webui import view
from mobilesam.webui.decoders import Decoders
from mobilesam.webui.everything import Everything, EverythingResult, everything_view
from mobilesam.webui.page_bodies import IMAGE_PATH
from mobilesam.webui.parameters import crop_of, file_name
from mobilesam.webui.sample_photos import read_sample, samples
from mobilesam.webui.saving import Saved, check_segments, save
from mobilesam.webui.service import Opened, Service
from mobilesam.webui.session import open_image, read_prompt
from mobilesam.webui.uploads import UploadFolder

STATIC = Path(__file__).parent / "static"
_TICK = 0.2  # seconds between progress reports
_IDLE = 1  # decoder jobs; with more, no preview is decoded

_MEDIA_TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}
_PRIVATE = {"Cache-Control": "no-store"}

Emit = Callable[[dict[str, Any]], object]
Result = TypeVar("Result")


def add_routes(
    app: FastAPI, service: Service, everything: Everything, decoders: Decoders, store: BodyStore, folder: UploadFolder
) -> None:
    """Add the routes of the page and ``/health`` to an application."""
    app.mount("/service/static", StaticFiles(directory=STATIC), name="service-static")

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        shown = explained(error)
        return JSONResponse(failure(shown), status_of(shown))

    for kind in (MobileSamError, MemoryError):
        app.add_exception_handler(kind, refuse)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        stored, _ = await run_in_threadpool(folder.used)
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
    async def open_file(request: Request) -> StreamingResponse:
        token, _ = _session_of(request)
        content = await request.body()
        name = file_name(request.headers.get("x-file-name", ""))

        def start(emit: Emit) -> Job[Opened]:
            return service.open(token, content, name, lambda image: emit({"image": view.image_view(image)}))

        return _follow(start, _opened_view)

    @app.post("/service/model/{name}")
    async def switch_model(request: Request, name: str) -> StreamingResponse:
        token, key = _session_of(request)
        return _follow(lambda _: service.switch(token, name, key), _opened_view)

    @app.get("/service/preview")
    async def preview(request: Request) -> Response:
        image = service.image(service.session(*_session_of(request)))
        jpeg: bytes = await _result(service.previews.submit(lambda: view.preview(image)))
        return Response(jpeg, media_type="image/jpeg", headers=_PRIVATE)

    @app.get("/service/crop")
    async def crop(request: Request) -> Response:
        image = service.image(service.session(*_session_of(request)))
        area, side = crop_of(request.query_params, (image.shape[0], image.shape[1]))
        jpeg: bytes = await _result(service.previews.submit(lambda: view.crop(image, area, side)))
        return Response(jpeg, media_type="image/jpeg", headers=_PRIVATE)

    @app.get("/service/embedding")
    async def embedding(request: Request) -> Response:
        """Send the embedding, (256, 64, 64) little-endian float16, with which a tab decodes the masks of the image."""
        session = service.session(*_session_of(request))
        halves: bytes = await _in_thread(lambda: service.half_embedding(session.model, open_image(session), Client()))
        return Response(halves, media_type="application/octet-stream", headers=_PRIVATE)

    @app.get("/service/decoder/{secret}/{name}/{file:path}")
    async def decoder(request: Request, secret: str, name: str, file: str) -> Response:
        content: bytes = await _in_thread(lambda: decoders.read(secret, name, file))
        tag = f'"{zlib.crc32(content):08x}-{len(content)}"'
        headers = {"Cache-Control": "private, no-cache", "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        media_type = _MEDIA_TYPES.get(PurePath(file).suffix, "application/octet-stream")
        return Response(content, media_type=media_type, headers=headers)

    @app.get("/service/samples/{name}")
    async def sample(name: str) -> Response:
        if name not in samples():
            raise InputError(unknown_name("the sample", name, samples()))
        return Response(await run_in_threadpool(read_sample, name), media_type="image/jpeg")

    @app.post("/service/predict")
    async def predict(request: Request) -> dict[str, Any]:
        session, body = service.session(*_session_of(request)), await _json(request)
        image = open_image(session)
        prompt, hover = read_prompt(body.get("prompt"), image.hw), body.get("hover") is True
        clean = body.get("clean") is True and not hover
        if hover and service.decoders.busy() > _IDLE:
            return {"masks": [], "best": 0, "decode_ms": 0.0, "refined": True}

        def work() -> dict[str, Any]:
            candidates = service.decode(session, prompt)
            return view.prediction_view(candidates, prompt, image, service.models.get(session.model), clean=clean)

        return await (_result(service.full_size.submit(work)) if clean else _in_thread(work))

    @app.post("/service/freeze")
    async def freeze(request: Request) -> dict[str, Any]:
        session, body = service.session(*_session_of(request)), await _json(request)

        def work() -> dict[str, Any]:
            if "run" in body:
                indices = check_segments(session, body.get("run"), body.get("segments"), "segments")
                records = [session.segments[index] for index in indices]
            else:
                prompt = read_prompt(body.get("prompt"), open_image(session).hw)
                records = [service.freeze(session, prompt, body.get("clean") is True)]
            return {"objects": [view.frozen_view(record) for record in records]}

        return await _result(service.full_size.submit(work))

    @app.post("/service/cancel")
    async def cancel(request: Request) -> dict[str, Any]:
        """End the run of everything mode early; its request returns the segments so far."""
        everything.cancel(_session_of(request)[0])
        return {}

    @app.post("/service/everything")
    async def run_everything(request: Request) -> StreamingResponse:
        (token, key), body = _session_of(request), await _json(request)
        mode, clean = body.get("mode"), body.get("clean") is True
        reported = 0.0

        def start(emit: Emit) -> Job[EverythingResult]:
            def progress(done: int, total: int, candidates: int) -> None:
                nonlocal reported
                if time.monotonic() - reported > _TICK:
                    reported = time.monotonic()
                    emit({"progress": {"done": done, "total": total, "candidates": candidates}})

            return everything.start(token, mode, progress, key, clean=clean)

        return _follow(start, everything_view, lambda job: everything.cancel(token, job))

    @app.post("/service/save/{kind}")
    async def save_file(request: Request, kind: str) -> Response:
        session, content = service.session(*_session_of(request)), await request.body()
        saved: Saved = await _result(service.savers.submit(lambda: save(service, session, kind, content)))
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(saved.name)}"}
        return Response(saved.content, media_type=saved.media_type, headers=headers | _PRIVATE)


def _opened_view(opened: Opened) -> dict[str, Any]:
    return view.opened_view(opened.session, opened.encode_ms)


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
    return read_json(await request.body())


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
    finally:
        del job  # from the traceback of an exception, which the job holds


async def _in_thread(work: Callable[[], Result]) -> Result:
    """Return the result of work that waits for the decoder, without blocking the event loop.

    Raises:
        MobileSamError: any error of the work; see :func:`explained`.
    """
    try:
        return await run_in_threadpool(work)
    except Exception as error:
        raise explained(error) from error
