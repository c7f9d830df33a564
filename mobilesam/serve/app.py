"""The REST application of ``mobilesam serve``; its OpenAPI document is at ``/openapi.json``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, StreamingResponse

from mobilesam._version import __version__
from mobilesam.errors import InputError, sentence
from mobilesam.serve import anylabeling, metrics, problems, schemas
from mobilesam.serve.access import CLIENT, Access, Rate
from mobilesam.serve.bodies import Bodies, BodyStore, Rules, read_json
from mobilesam.serve.engine import Engine
from mobilesam.serve.failures import ExpiredError, RefusedError
from mobilesam.serve.guard import Guard, Hosts
from mobilesam.serve.images import Images
from mobilesam.serve.jobs import ACTIVE, FAILED, Jobs
from mobilesam.serve.rendering import png_of, rendered
from mobilesam.serve.requests import everything_request, segment_request
from mobilesam.serve.values import Client, OpenImage

_IMAGES, _SEGMENT = "/v1/images", "/v1/segment"
_TICK = 0.2  # seconds between looks at a client, and between events
_THREADS = 400  # that wait for the queues, which are shorter
_PNG = "image/png"
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Problem, "content": {problems.MEDIA_TYPE: {}}} for status in (400, 401, 410, 413, 429)
}

Result = TypeVar("Result")


class ServeRules(Rules):
    """Files come as images, or in the form of a request for masks."""

    def has_file(self, path: str) -> bool:
        return path in (_IMAGES, _SEGMENT, anylabeling.PREDICT)

    def response(self, error: Exception) -> Response:
        return problems.response(error)


def build_app(
    engine: Engine,
    jobs: Jobs,
    store: BodyStore,
    *,
    hosts: Hosts,
    keys: tuple[str, ...] = (),
    rate: float = 50.0,
) -> FastAPI:
    """Return the application.

    Args:
        engine: has the models. jobs: the runs of everything mode. store: the bodies of requests, with ServeRules.
        hosts: names by which the server is reached.
        keys: a client needs one of them; none opens the server to everyone who reaches it.
        rate: requests a second of each client on average.
    """
    app = FastAPI(title="mobilesam", version=__version__, docs_url=None, redoc_url=None)
    images, measured = Images(engine), metrics.Metrics(engine)
    app.add_middleware(Bodies, store=store)
    app.add_middleware(Access, keys=keys, rate=Rate(rate), respond=problems.response)
    app.add_middleware(Guard, hosts=hosts, respond=problems.problem)  # middleware that is added later runs earlier
    app.add_middleware(anylabeling.Failures)
    app.add_middleware(metrics.Measured, metrics=measured)
    problems.add_handlers(app)
    anylabeling.add_route(app, engine, images, _watched)

    @app.get("/health", tags=["server"])
    async def health() -> dict[str, str]:
        """Return that the process runs."""
        return {"status": "ok", "version": __version__}

    @app.get("/ready", tags=["server"], responses={503: {"model": schemas.Problem}})
    async def ready() -> Response:
        """Return whether the server accepts work: 200, or 503 while its queue is full."""
        if engine.encoders.is_full:
            raise RefusedError(503, "The queue is full. Send requests to another server, or later.", 1)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", tags=["server"], response_class=Response)
    async def read_metrics() -> Response:
        """Return the metrics in the format of Prometheus."""
        return Response(measured.text(), media_type=metrics.MEDIA_TYPE)

    @app.get("/v1/models", tags=["server"], response_model=schemas.Models, responses=_PROBLEMS)
    async def models() -> dict[str, Any]:
        """Return the models."""
        labels = engine.models.labels()
        return {"models": labels, "default": engine.models.default} | anylabeling.described(labels)

    @app.post(
        _IMAGES,
        tags=["segment"],
        response_model=schemas.Image,
        responses=_PROBLEMS,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "properties": {"image": {"type": "string", "format": "binary"}},
                            "required": ["image"],
                        }
                    },
                },
            }
        },
    )
    async def add_image(request: Request, model: str | None = None) -> dict[str, Any]:
        """Read and encode an image: the bytes of the file, or a form with the field ``image``.

        The identifier is the sha256 of the file. An image that the server has is not encoded again.
        """
        name = engine.models.check(model or engine.models.default)
        content = (await _form(request))[0] if _is_form(request) else await request.body()

        def work(client: Client) -> dict[str, Any]:
            image_id, image = images.add(content, client)
            engine.encoded(name, image, client)
            return {"image_id": image_id, "width": image.hw[1], "height": image.hw[0]}

        return await _watched(request, work)

    @app.get("/v1/images/{image_id}", tags=["segment"], response_model=schemas.Image, responses=_PROBLEMS)
    async def find_image(image_id: str) -> dict[str, Any]:
        """Return whether the server has an image, so that it need not be uploaded."""
        image = await run_in_threadpool(images.get, image_id)
        return {"image_id": image_id, "width": image.hw[1], "height": image.hw[0]}

    @app.get("/v1/images/{image_id}/embedding", tags=["segment"], response_class=Response, responses=_PROBLEMS)
    async def embedding(request: Request, image_id: str, model: str | None = None) -> Response:
        """Return the embedding of an image for a decoder elsewhere: (256, 64, 64) little-endian float16."""
        name = engine.models.check(model or engine.models.default)
        halves = await _watched(request, lambda client: engine.half_embedding(name, images.get(image_id), client))
        return Response(halves, media_type="application/octet-stream", headers={"X-Shape": "256,64,64"})

    @app.post(
        _SEGMENT,
        tags=["segment"],
        response_model=schemas.Objects,
        responses=_PROBLEMS,
        openapi_extra=schemas.body_of(schemas.Segment, with_image=True),
    )
    async def segment(request: Request) -> Response:
        """Segment objects, one for each prompt.

        With ``Accept: image/png``, the response is the mask of the only prompt.
        """
        content, body = await _form(request) if _is_form(request) else (None, read_json(await request.body()))
        as_png = _PNG in request.headers.get("accept", "")

        def work(client: Client) -> Response:
            image = _image_of(images, content, body, client)
            wanted = segment_request(body, image.hw)
            name = engine.models.check(wanted.model or engine.models.default)
            if as_png and len(wanted.prompts) != 1:
                remedy = 'accept application/json, and set "masks": "png"'
                raise InputError(sentence("prompts", "be one for a PNG file", len(wanted.prompts), remedy))
            records = engine.segment(name, image, wanted.prompts, wanted.select, client)
            if as_png:
                return Response(png_of(next(records)[0]), media_type=_PNG)
            return JSONResponse({"objects": [[rendered(record, wanted.masks) for record in each] for each in records]})

        return await _watched(request, work)

    @app.post(
        "/v1/everything",
        tags=["everything"],
        status_code=202,
        response_model=None,
        responses=_PROBLEMS | {202: {"model": schemas.Job}},
        openapi_extra=schemas.body_of(schemas.Everything),
    )
    async def everything(request: Request) -> dict[str, Any]:
        """Start a run of everything mode; its job reports the progress and the masks."""
        body = read_json(await request.body())

        def work(client: Client) -> dict[str, Any]:
            wanted = everything_request(body)
            name = engine.models.check(wanted.model or engine.models.default)
            return jobs.start(name, images.get(body.get("image_id")), wanted, client)

        return await _watched(request, work)

    responses = _PROBLEMS | {200: {"model": schemas.Job}}
    job_options: dict[str, Any] = {"tags": ["everything"], "response_model": None, "responses": responses}

    @app.get("/v1/jobs/{job_id}", **job_options)
    async def find_job(request: Request, job_id: str) -> dict[str, Any]:
        """Return the progress of a run, and its masks once it ended."""
        return await run_in_threadpool(jobs.view, job_id, _client(request))

    @app.delete("/v1/jobs/{job_id}", **job_options)
    async def cancel_job(request: Request, job_id: str) -> dict[str, Any]:
        """End a run early; its job has the masks so far."""
        return await run_in_threadpool(jobs.cancel, job_id, _client(request))

    @app.get("/v1/jobs/{job_id}/events", tags=["everything"], response_class=Response, responses=_PROBLEMS)
    async def follow_job(request: Request, job_id: str) -> StreamingResponse:
        """Stream the job as server-sent events: ``progress`` while it changes, and ``end`` with the masks."""
        client = _client(request)
        first = await run_in_threadpool(jobs.view, job_id, client)

        async def events() -> AsyncIterator[str]:
            view, last = first, None
            while True:
                active = view["state"] in ACTIVE
                if view != last:
                    text = json.dumps(view, separators=(",", ":"))
                    yield f"event: {'progress' if active else 'end'}\ndata: {text}\n\n"
                if not active:
                    return
                last = view
                await asyncio.sleep(_TICK)
                try:
                    view = await run_in_threadpool(jobs.view, job_id, client)
                except ExpiredError as error:
                    view = {"job_id": job_id, "state": FAILED, "error": str(error)}

        return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the schemas of request bodies."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document["components"]["schemas"] |= schemas.of_requests()
        app.openapi_schema = document
    return app.openapi_schema


def _client(request: Request) -> Client:
    return Client(request.scope[CLIENT])


async def _watched(request: Request, work: Callable[[Client], Result]) -> Result:
    """Return the result of work in a thread, which learns when the client disconnects."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = max(limiter.total_tokens, _THREADS)
    client = _client(request)
    running = asyncio.ensure_future(run_in_threadpool(work, client))
    try:
        while not (await asyncio.wait([running], timeout=_TICK))[0]:
            if await request.is_disconnected():
                client.left.set()
        return running.result()
    finally:
        client.left.set()  # also where the request is canceled, as Ray does


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def _form(request: Request) -> tuple[bytes, dict[str, Any]]:
    """Return the image and the JSON in a form.

    Raises:
        InputError: the form has no file ``image``.
    """
    async with request.form(max_files=1, max_fields=8) as form:
        image, text = form.get("image"), form.get("request", "{}")
        if not isinstance(image, UploadFile):
            raise InputError(sentence("the form", "have a file named image", "none", "add it"))
        if not isinstance(text, str):
            raise InputError(sentence("request", "be text", "a file", "send the JSON as a field"))
        return await image.read(), read_json(text.encode())


def _image_of(images: Images, content: bytes | None, body: dict[str, Any], client: Client) -> OpenImage:
    if content is None:
        return images.get(body.get("image_id"))
    if "image_id" in body:
        raise InputError(sentence("image_id", "be left out beside an image", "both", "send one of them"))
    return images.add(content, client)[1]
