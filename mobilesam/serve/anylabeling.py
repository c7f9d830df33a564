"""The requests of X-AnyLabeling's remote mode: ``POST /v1/predict``, and its part of ``GET /v1/models``.

Its client sends the image with each request, in base64, and what the user marks as points and rectangles.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilesam.arrays import IntArray
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.files import is_number
from mobilesam.formats.polygons import rings_of
from mobilesam.masks import regions, rle
from mobilesam.masks.records import MaskRecord
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.prompts.schema import parse_marks_of_objects, shown
from mobilesam.serve import schemas
from mobilesam.serve.bodies import read_json
from mobilesam.serve.engine import Engine
from mobilesam.serve.images import Images
from mobilesam.serve.requests import check_count, checked
from mobilesam.serve.values import Client

PREDICT = "/v1/predict"
_LABEL = "AUTOLABEL_OBJECT"  # replaced by the label that the user chooses
_SMALL = 0.01  # parts and holes below this share of the mask would be polygons to remove by hand
_ERROR = 400  # the least status of an error

# Names of its buttons, and the values that they start with. The last one keeps what the user has drawn when a request
# fails: otherwise its client replaces all shapes of the image by none.
_WIDGETS: dict[str, Any] = {
    "button_add_point": None,
    "button_remove_point": None,
    "button_add_rect": None,
    "button_clear": None,
    "button_finish_object": None,
    "mask_fineness_slider": 10,
    "mask_fineness_value_label": None,
    "toggle_preserve_existing_annotations": True,
}
_POLYGON, _RECTANGLE = "polygon", "rectangle"
_TASKS = {_POLYGON: "Polygons", _RECTANGLE: "Rectangles"}

Watched = Callable[[Request, Callable[[Client], Response]], Awaitable[Response]]


@dataclass(frozen=True)
class _Prediction:
    """simplification: as for rings_of. select: as for the engine."""

    model: str
    image: bytes
    prompts: tuple[ObjectPrompt, ...]
    select: str | None
    polygons: bool
    rectangles: bool
    simplification: float


class Failures:
    """ASGI middleware that turns the problem documents of its path into errors of X-AnyLabeling's form."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PREDICT:
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def translate(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] >= _ERROR:
                start = message
            elif start is None:
                await send(message)
            else:
                problem = json.loads(message["body"])
                error = {"code": problem["title"].upper().replace(" ", "_"), "message": problem["detail"]}
                headers = dict(Headers(raw=start["headers"]))
                for name in ("content-type", "content-length"):
                    del headers[name]
                failure = JSONResponse({"success": False, "error": error}, start["status"], headers)
                await failure(scope, receive, send)

        await self._app(scope, receive, translate)


def described(labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the models of a server, labels by name, as X-AnyLabeling's client expects them."""
    model: dict[str, Any] = {
        "widgets": [{"name": name, "value": value} for name, value in _WIDGETS.items()],
        "available_tasks": [
            {"id": task, "name": label, "active_widgets": {name: {} for name in _WIDGETS}}
            for task, label in _TASKS.items()
        ],
        "params": {},
        "capabilities": {},
        "batch_processing_mode": None,  # for all images of a folder, which have no marks
    }
    return {
        "success": True,
        "data": {name: {"display_name": f"mobilesam, {label}"} | model for name, label in labels.items()},
    }


def add_route(app: FastAPI, engine: Engine, images: Images, watched: Watched) -> None:
    """Add ``POST /v1/predict`` to an application; ``watched`` runs the work of a request in a thread."""
    responses: dict[int | str, dict[str, Any]] = {
        status: {"model": schemas.Failure} for status in (400, 401, 410, 413, 429)
    }

    @app.post(
        PREDICT,
        tags=["X-AnyLabeling"],
        response_model=schemas.Shapes,
        responses=responses,
        openapi_extra=schemas.body_of(schemas.Prediction),
    )
    async def predict(request: Request) -> Response:
        """Segment the objects of marks: one for each rectangle, which all points refine, or one for the points.

        Without a foreground point or a rectangle there are no shapes. ``epsilon_factor`` simplifies polygons: corners
        are left out where the outline moves by at most this share of its length.
        """
        content = await request.body()

        def work(client: Client) -> Response:
            wanted = _prediction(read_json(content))
            name = engine.models.check(wanted.model)
            shapes = []
            if wanted.prompts:
                _, image = images.add(wanted.image, client)
                prompts = [checked(prompt, image.hw, "params.marks") for prompt in wanted.prompts]
                for records in engine.segment(name, image, prompts, wanted.select, client):
                    shapes += [shape for record in records for shape in _shapes(record, wanted)]
            return JSONResponse({"success": True, "data": {"shapes": shapes, "description": "", "replace": False}})

        return await watched(request, work)


def _prediction(body: Mapping[str, Any]) -> _Prediction:
    """Read a request; keys that other models use are ignored, since the client sends them to every model."""
    params = body.get("params", {})
    if not isinstance(params, dict):
        raise InputError(sentence("params", "be an object", shown(params), "use braces"))
    marks, task = params.get("marks", []), params.get("current_task", _POLYGON)
    if not isinstance(marks, list):
        remedy = 'write [{"type": "point", "data": [x, y], "label": 1}]'
        raise InputError(sentence("params.marks", "be a list of marks", shown(marks), remedy))
    check_count(marks, "params.marks")
    if task not in tuple(_TASKS):  # which may be a list, too
        raise InputError(unknown_name("params.current_task", task if isinstance(task, str) else shown(task), _TASKS))
    simplification = params.get("epsilon_factor", 0)
    if not is_number(simplification) or not 0 <= simplification <= 1:
        remedy = "leave it out for exact polygons"
        raise InputError(sentence("params.epsilon_factor", "be a number from 0 to 1", shown(simplification), remedy))
    prompts = parse_marks_of_objects(marks, "params.marks")
    multimask = params.get("multimask_output")
    return _Prediction(
        body.get("model", ""),
        _image(body.get("image")),
        tuple(_ordered(prompt) for prompt in prompts if prompt.has_object),
        None if multimask is None else "score" if multimask else "single",
        bool(params.get("show_masks", task == _POLYGON)),
        bool(params.get("show_boxes", task == _RECTANGLE)),
        float(simplification),
    )


def _image(value: Any) -> bytes:
    try:
        return base64.b64decode(value.rpartition(",")[2], validate=True)  # a data URI has a comma before the base64
    except (AttributeError, ValueError) as error:
        remedy = "send the image file in base64, or a data URI of it"
        raise InputError(sentence("image", "be base64", shown(value), remedy)) from error


def _ordered(prompt: ObjectPrompt) -> ObjectPrompt:
    """Return a prompt whose box goes from the upper left, wherever the user began to draw it."""
    if prompt.box is None:
        return prompt
    x1, y1, x2, y2 = prompt.box
    return replace(prompt, box=(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))


def _shapes(record: MaskRecord, wanted: _Prediction) -> list[dict[str, Any]]:
    """Return the shapes of a mask: a polygon for each of its parts, and its rectangle, if they are wanted."""
    if not record["area"]:
        return []
    height, width = record["segmentation"]["size"]
    hw = (height, width)
    boundaries, _ = regions.clean(rle.boundaries_of_rle(record["segmentation"]), hw, _SMALL * record["area"])
    shapes: list[tuple[str, list[list[int]]]] = []
    if wanted.polygons:
        rings = rings_of(rle.mask_of(boundaries, hw), wanted.simplification)
        shapes += [(_POLYGON, _closed(ring)) for ring in rings if len(np.unique(ring, axis=0)) > 2]
    if wanted.rectangles:
        x1, y1, x2, y2 = rle.box(boundaries, height)
        shapes.append((_RECTANGLE, [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]))
    score = min(max(record["predicted_iou"], 0.0), 1.0)  # its form has no other values
    return [{"label": _LABEL, "shape_type": kind, "points": points, "score": score} for kind, points in shapes]


def _closed(ring: IntArray) -> list[list[int]]:
    """Return a ring that ends where it begins, at a corner that occurs once: its client drops repetitions of the first.

    The line to a hole has corners that occur twice.
    """
    _, places, counts = np.unique(ring, axis=0, return_index=True, return_counts=True)
    once = places[counts == 1]
    points: list[list[int]] = np.roll(ring, -int(once[0]) if len(once) else 0, axis=0).tolist()
    return [*points, points[0]]
