"""The JSON of requests and responses as schemas, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from mobilesam.automatic.settings import MODES
from mobilesam.masks.selection import RULES
from mobilesam.segment import ALL
from mobilesam.serve.rendering import FORMS
from mobilesam.serve.requests import MAX_MASKS, MAX_POINTS_PER_SIDE, MAX_PROMPTS

Point = tuple[float, float] | tuple[float, float, Literal[0, 1]]
Box = tuple[float, float, float, float]
Digest = Field(pattern="^[0-9a-f]{64}$", description="sha256 of the image file, from POST /v1/images.")
Select = Annotated[str, Field(json_schema_extra={"enum": [*RULES, ALL]})]
Form = Annotated[str, Field(json_schema_extra={"enum": [*FORMS]})]
Mode = Annotated[str, Field(json_schema_extra={"enum": [*MODES]})]


class Step(BaseModel):
    """A prompt of an object; ``chosen`` is the decoder's index of the mask that the next step refines."""

    points: list[Point] | None = None
    box: Box | None = None
    chosen: int | None = Field(None, ge=0, le=3)


class Prompt(BaseModel):
    """An object: points [x, y, label] and a box [x1, y1, x2, y2] in pixels of the image, or steps."""

    points: list[Point] | None = None
    labels: list[Literal[0, 1]] | None = Field(None, description="One a point, beside points of two numbers.")
    box: Box | None = None
    steps: list[Step] | None = None
    label: str | None = None


class Segment(BaseModel):
    """A request for the masks of prompts."""

    image_id: str = Digest
    prompts: list[Prompt] = Field(min_length=1, max_length=MAX_PROMPTS)
    select: Select | None = None
    masks: Form = "rle"
    model: str | None = None


class Everything(BaseModel):
    """A request for all masks of an image."""

    image_id: str = Digest
    mode: Mode = "exact"
    points_per_side: int | None = Field(None, ge=1, le=MAX_POINTS_PER_SIDE)
    pred_iou_thresh: float | None = None
    stability_score_thresh: float | None = None
    box_nms_thresh: float | None = None
    min_mask_region_area: float | None = None
    limit: int = Field(MAX_MASKS, ge=1, le=MAX_MASKS)
    masks: Form = "rle"
    model: str | None = None


class Image(BaseModel):
    """An image of the server."""

    image_id: str = Digest
    width: int
    height: int


class Mask(BaseModel):
    """A mask; ``segmentation`` is COCO's run lengths, polygons, or a PNG file in base64."""

    segmentation: Any
    bbox: list[int] = Field(description="COCO's: x, y, width, height in pixels.")
    area: int
    predicted_iou: float | None
    stability_score: float | None
    confidence: float | None = Field(description="The IoU to expect; null where it is not known.")
    point_coords: list[list[float]]


class Objects(BaseModel):
    """The masks of each prompt, best first."""

    objects: list[list[Mask]]


class Progress(BaseModel):
    """done, total: points. candidates: masks so far."""

    done: int
    total: int
    candidates: int


class Job(BaseModel):
    """A run of everything mode. A canceled run has the masks so far."""

    job_id: str
    state: Literal["queued", "running", "done", "failed", "canceled"]
    progress: Progress
    waiting: int | None = None
    error: str | None = None
    partial: bool | None = None
    masks: list[Mask] | None = None


class Problem(BaseModel):
    """A problem document, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


class Models(BaseModel):
    """The models of the server; the first is the default."""

    models: dict[str, str] = Field(description="The label of each name.")
    default: str
    success: Literal[True] = Field(description="For X-AnyLabeling.")
    data: dict[str, Any] = Field(description="For X-AnyLabeling: the buttons and tasks of each name.")


class Prediction(BaseModel):
    """A request of X-AnyLabeling."""

    model: str
    image: str = Field(description="An image file in base64, or a data URI of it.")
    params: dict[str, Any] = Field({}, description="marks, epsilon_factor, current_task, show_masks, show_boxes ...")


class Shapes(BaseModel):
    """A response to X-AnyLabeling."""

    success: Literal[True]
    data: dict[str, Any] = Field(description="shapes: polygons and rectangles.")


class Failure(BaseModel):
    """An error in the form of X-AnyLabeling."""

    success: Literal[False]
    error: dict[str, str] = Field(description="code and message.")


def of_requests() -> dict[str, Any]:
    """Return the schemas of request bodies by name, which FastAPI does not see: the bodies are read by our own code."""
    every: dict[str, Any] = {}
    for model in (Segment, Everything, Prediction):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        every |= schema.pop("$defs", {}) | {model.__name__: schema}
    return every


def body_of(model: type[BaseModel], *, with_image: bool = False) -> dict[str, Any]:
    """Return the description of a request body in the form of OpenAPI.

    with_image: whether the image may come with the request, in a form with the fields ``image`` and ``request``.
    """
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    if with_image:
        fields = {
            "image": {"type": "string", "format": "binary"},
            "request": {"type": "string", "description": "The JSON of the request, without image_id."},
        }
        content["multipart/form-data"] = {
            "schema": {"type": "object", "properties": fields, "required": ["image", "request"]}
        }
    return {"requestBody": {"required": True, "content": content}}
