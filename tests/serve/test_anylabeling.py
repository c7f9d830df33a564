"""Requests as X-AnyLabeling's client sends them, compared with SamPredictor."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from benchmarks.serve_process import ServeProcess
from mobilesam import SamPredictor
from mobilesam.formats.polygons import filled
from mobilesam.masks.regions import remove_small_regions
from tests.serve.serving import serving

pytestmark = pytest.mark.weights

POINT = {"type": "point", "data": [200, 150], "label": 1}
BACKGROUND = {"type": "point", "data": [20, 20], "label": 0}
BOX = {"type": "rectangle", "data": [30, 20, 400, 290], "label": 1}
REVERSED = {"type": "rectangle", "data": [400, 290, 30, 20], "label": 1}
EYE = {"type": "rectangle", "data": [170, 90, 220, 130], "label": 1}
# Marks, and the prompts that they are for SamPredictor.
CASES: tuple[tuple[list[dict[str, Any]], list[dict[str, Any]]], ...] = (
    ([POINT], [{"point_coords": [[200, 150]], "point_labels": [1]}]),
    ([POINT, BACKGROUND], [{"point_coords": [[200, 150], [20, 20]], "point_labels": [1, 0]}]),
    ([BOX], [{"box": [30, 20, 400, 290]}]),
    ([REVERSED], [{"box": [30, 20, 400, 290]}]),
    ([BOX, BACKGROUND], [{"box": [30, 20, 400, 290], "point_coords": [[20, 20]], "point_labels": [0]}]),
    ([BOX, EYE], [{"box": [30, 20, 400, 290]}, {"box": [170, 90, 220, 130]}]),
)


@pytest.fixture(scope="module")
def client(server: ServeProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60, headers={"Token": ""}) as client:
        yield client


@pytest.fixture(scope="module")
def predictor(onnx_sam: Any, cat: Path) -> SamPredictor:
    predictor = SamPredictor(onnx_sam)
    predictor.set_image(cat)
    return predictor


@pytest.fixture(scope="module")
def image(cat: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(cat.read_bytes()).decode('ascii')}"


def without_specks(mask: np.ndarray) -> np.ndarray:
    """Return a mask without the parts and holes that do not become shapes."""
    least = 0.01 * mask.sum()
    return remove_small_regions(remove_small_regions(mask, least, "holes")[0], least, "islands")[0]


def shapes_of(client: httpx.Client, image: str, **params: Any) -> list[dict[str, Any]]:
    usual = {"conf_threshold": 0.0, "iou_threshold": 0.0}  # which the client sends to every model
    response = client.post("/v1/predict", json={"model": "onnx", "image": image, "params": usual | params})
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["success"] is True
    assert (body["data"]["replace"], body["data"]["description"]) == (False, "")
    shapes: list[dict[str, Any]] = body["data"]["shapes"]
    assert all(shape["label"] == "AUTOLABEL_OBJECT" for shape in shapes)
    return shapes


@pytest.mark.parametrize(("marks", "prompts"), CASES)
def test_polygons_are_the_masks_of_sam_predictor(
    client: httpx.Client, image: str, predictor: SamPredictor, marks: list[Any], prompts: list[dict[str, Any]]
) -> None:
    shapes = shapes_of(client, image, marks=marks, current_task="polygon")
    assert {shape["shape_type"] for shape in shapes} == {"polygon"}
    assert all(shape["points"][0] == shape["points"][-1] for shape in shapes)
    results = [predictor.predict_one(**prompt) for prompt in prompts]
    expected = np.any([without_specks(result.masks[0]) for result in results], axis=0)
    sent = filled([np.array(shape["points"]) for shape in shapes], (300, 451))
    assert (sent & expected).sum() / (sent | expected).sum() > 0.995  # a line to a hole is filled
    scores = sorted({shape["score"] for shape in shapes})
    assert scores == pytest.approx(sorted(min(float(result.iou_predictions[0]), 1) for result in results))


def test_a_simplified_polygon_has_fewer_corners(client: httpx.Client, image: str, predictor: SamPredictor) -> None:
    exact = shapes_of(client, image, marks=[BOX])
    simple = shapes_of(client, image, marks=[BOX], epsilon_factor=0.001)
    assert sum(len(shape["points"]) for shape in simple) < 0.6 * sum(len(shape["points"]) for shape in exact)
    sent = filled([np.array(shape["points"]) for shape in simple], (300, 451))
    mask = predictor.predict_one(box=BOX["data"]).masks[0]
    assert (sent & mask).sum() / (sent | mask).sum() > 0.97


@pytest.mark.parametrize("params", [{"current_task": "rectangle"}, {"show_masks": False, "show_boxes": True}])
def test_rectangles_are_those_of_the_masks(
    client: httpx.Client, image: str, predictor: SamPredictor, params: dict[str, Any]
) -> None:
    (shape,) = shapes_of(client, image, marks=[POINT, BACKGROUND], **params)
    result = predictor.predict_one(point_coords=[[200, 150], [20, 20]], point_labels=[1, 0])
    ys, xs = np.nonzero(without_specks(result.masks[0]))
    x1, y1, x2, y2 = xs.min(), ys.min(), xs.max(), ys.max()
    assert shape["shape_type"] == "rectangle"
    assert shape["points"] == [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]


@pytest.mark.parametrize("multimask", [True, False])
def test_a_request_may_choose_among_masks_as_sam_does(
    client: httpx.Client, image: str, predictor: SamPredictor, multimask: bool
) -> None:
    shapes = shapes_of(client, image, marks=[POINT], multimask_output=multimask)
    point = {"point_coords": [[200, 150]], "point_labels": [1]}
    result = predictor.predict(**point, multimask_output=multimask)
    best = int(np.argmax(result.iou_predictions))
    expected = without_specks(result.masks[best])
    sent = filled([np.array(shape["points"]) for shape in shapes], (300, 451))
    assert (sent & expected).sum() / (sent | expected).sum() > 0.995


@pytest.mark.parametrize("marks", [[], [BACKGROUND]])
def test_marks_without_an_object_have_no_shapes(client: httpx.Client, image: str, marks: list[Any]) -> None:
    assert shapes_of(client, image, marks=marks) == []


def test_the_list_of_models_serves_both_contracts(client: httpx.Client) -> None:
    body = client.get("/v1/models").raise_for_status().json()
    assert body["success"] is True
    assert body["data"].keys() == body["models"].keys() == {"onnx"}
    model = body["data"]["onnx"]
    assert model["display_name"] == "mobilesam, ONNX float32"
    names = {widget["name"] for widget in model["widgets"]}
    assert {"button_add_point", "button_remove_point", "button_add_rect", "button_finish_object"} <= names
    assert [task["id"] for task in model["available_tasks"]] == ["polygon", "rectangle"]
    assert all(task["active_widgets"].keys() == names for task in model["available_tasks"])
    values = {widget["name"]: widget["value"] for widget in model["widgets"]}
    assert values["toggle_preserve_existing_annotations"] is True


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model": "sam3"}, "model must be one of onnx, got 'sam3'"),
        ({"image": "%%%"}, 'image must be base64, got "%%%"'),
        ({"image": None}, "image must be base64, got null"),
        ({"image": "aGVsbG8="}, "the file is not an image. Open a JPEG"),
        ({"params": []}, "params must be an object, got []"),
        ({"params": {"marks": {}}}, "params.marks must be a list of marks, got {}"),
        ({"params": {"marks": [POINT] * 1001}}, "params.marks must be at most 1000, got 1001"),
        ({"params": {"marks": [POINT] * 300}}, "be at most 256"),
        ({"params": {"marks": [{"type": "auto_grid"}]}}, "params.marks[0].type must be one of point, rectangle"),
        ({"params": {"marks": [POINT | {"data": [500, 1]}]}}, "lie in the image, 451 wide and 300 high"),
        ({"params": {"marks": [BOX | {"data": [500, 1, 600, 9]}]}}, "overlap the image, 451 wide and 300 high"),
        ({"params": {"marks": [BOX | {"data": [1, 2, 3]}]}}, "params.marks[0].data must be [x1, y1, x2, y2]"),
        ({"params": {"marks": [POINT], "current_task": "rotation"}}, "params.current_task must be one of polygon,"),
        ({"params": {"marks": [POINT], "current_task": []}}, "params.current_task must be one of polygon,"),
        ({"params": {"marks": [POINT], "epsilon_factor": -1}}, "params.epsilon_factor must be a number from 0 to 1"),
    ],
)
def test_errors_have_the_form_of_x_anylabeling(
    client: httpx.Client, image: str, change: dict[str, Any], text: str
) -> None:
    body = {"model": "onnx", "image": image, "params": {"marks": [POINT]}} | change
    response = client.post("/v1/predict", json=body)
    assert (response.status_code, response.headers["content-type"]) == (400, "application/json")
    failure = response.json()
    assert (failure["success"], failure["error"]["code"]) == (False, "BAD_REQUEST")
    assert text in failure["error"]["message"]


def test_errors_before_the_application_have_it_too(client: httpx.Client) -> None:
    wrong = client.post("/v1/predict", content=b"{")
    assert (wrong.status_code, wrong.json()["success"]) == (400, False)
    rebound = client.post("/v1/predict", content=b"{}", headers={"Host": "evil.example"})
    assert (rebound.status_code, rebound.json()["error"]["code"]) == (421, "MISDIRECTED_REQUEST")
    method = client.get("/v1/predict")
    assert (method.status_code, method.json()["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert method.headers["allow"] == "POST"


def test_the_key_comes_as_a_token(image: str) -> None:
    key = "0123456789abcdef"
    with (
        serving("--max-upload-mb", "1", environment={"MOBILESAM_API_KEYS": key}) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        assert client.get("/v1/models", headers={"Token": "another"}).status_code == 401
        assert client.get("/v1/models", headers={"Token": key}).json()["success"] is True
        body = {"model": "onnx", "image": image, "params": {"marks": [BOX]}}
        failure = client.post("/v1/predict", json=body)
        assert (failure.status_code, failure.json()["error"]["code"]) == (401, "UNAUTHORIZED")
        assert failure.headers["www-authenticate"] == "Bearer"
        allowed = client.post("/v1/predict", json=body, headers={"Token": key})
        assert len(allowed.raise_for_status().json()["data"]["shapes"]) >= 1
        large = client.post("/v1/predict", content=b" " * 2_000_000, headers={"Token": key})
        assert (large.status_code, large.json()["success"]) == (413, False)
