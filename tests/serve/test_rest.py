"""The routes of ``mobilesam serve``, over HTTP, compared with the Python interface."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from benchmarks.serve_process import ServeProcess
from mobilesam.formats.polygons import filled
from mobilesam.formats.segmentation import decode_segmentation
from mobilesam.image.read import read_image
from mobilesam.masks.rle import rle_to_mask
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import segment_objects

pytestmark = pytest.mark.weights

PROMPTS = (
    ({"points": [[200, 150, 1]]}, ObjectPrompt(((200, 150),), (1,))),
    ({"points": [[200, 150], [20, 20]], "labels": [1, 0]}, ObjectPrompt(((200, 150), (20, 20)), (1, 0))),
    ({"box": [30, 20, 400, 290]}, ObjectPrompt(box=(30, 20, 400, 290))),
    (
        {"steps": [{"points": [[200, 150, 1]], "chosen": 2}, {"points": [[60, 60, 0]]}]},
        ObjectPrompt(((60, 60),), (0,), steps=(ObjectPrompt(((200, 150),), (1,), chosen=2),)),
    ),
)


@pytest.fixture(scope="module")
def client(server: ServeProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def image_id(client: httpx.Client, cat: Path) -> str:
    response = client.post("/v1/images", content=cat.read_bytes())
    assert response.status_code == 200, response.text
    expected = {"image_id": hashlib.sha256(cat.read_bytes()).hexdigest(), "width": 451, "height": 300}
    assert response.json() == expected
    return str(response.json()["image_id"])


@pytest.fixture(scope="module")
def embedding(onnx_sam: Any, cat: Path) -> Any:
    return onnx_sam.encode(read_image(cat))


def masks_of(records: list[dict[str, Any]]) -> np.ndarray:
    return np.stack([decode_segmentation(record["segmentation"], (300, 451)) for record in records])


@pytest.mark.parametrize("select", [None, "all", "score"])
def test_masks_are_those_of_python(
    client: httpx.Client, image_id: str, onnx_sam: Any, embedding: Any, select: str | None
) -> None:
    body = {"image_id": image_id, "prompts": [sent for sent, _ in PROMPTS], "select": select}
    objects = client.post("/v1/segment", json=body).raise_for_status().json()["objects"]
    expected = segment_objects(onnx_sam, embedding, [prompt for _, prompt in PROMPTS], select=select)
    assert len(objects) == len(PROMPTS)
    for sent, local in zip(objects, expected, strict=True):
        masks = np.stack([rle_to_mask(record["segmentation"]) for record in local])
        assert np.array_equal(masks_of(sent), masks)
        assert [record["predicted_iou"] for record in sent] == pytest.approx([each["predicted_iou"] for each in local])
        assert [record["area"] for record in sent] == masks.sum((1, 2)).tolist()


def test_an_image_may_come_with_its_request(client: httpx.Client, cat: Path) -> None:
    request = json.dumps({"prompts": [PROMPTS[2][0]]})
    files = {"image": ("cat.png", cat.read_bytes(), "image/png")}
    response = client.post("/v1/segment", files=files, data={"request": request}).raise_for_status()
    assert len(response.json()["objects"]) == 1
    form = client.post("/v1/images", files=files).raise_for_status()
    assert form.json()["image_id"] == hashlib.sha256(cat.read_bytes()).hexdigest()


def test_masks_come_as_polygons_and_as_png(client: httpx.Client, image_id: str) -> None:
    body: dict[str, Any] = {"image_id": image_id, "prompts": [PROMPTS[2][0]]}
    (rle,) = masks_of(client.post("/v1/segment", json=body).json()["objects"][0])
    png = client.post("/v1/segment", json={**body, "masks": "png"}).json()["objects"][0][0]["segmentation"]
    assert np.array_equal(np.array(Image.open(io.BytesIO(base64.b64decode(png)))) > 0, rle)
    file = client.post("/v1/segment", json=body, headers={"Accept": "image/png"})
    assert file.headers["content-type"] == "image/png"
    assert np.array_equal(np.array(Image.open(io.BytesIO(file.content))) > 0, rle)
    polygons = client.post("/v1/segment", json={**body, "masks": "polygons"}).json()["objects"][0][0]["segmentation"]
    filled_mask = filled([np.array(polygon) for polygon in polygons], (300, 451))
    assert (filled_mask & rle).sum() / (filled_mask | rle).sum() > 0.99


def test_the_embedding_is_that_of_the_model(client: httpx.Client, image_id: str, onnx_sam: Any, embedding: Any) -> None:
    content = client.get(f"/v1/images/{image_id}/embedding").raise_for_status().content
    halves = np.frombuffer(content, "<f2").reshape(256, 64, 64)
    assert np.array_equal(halves, onnx_sam.dump_features(embedding.features)[0].astype("<f2"))


def test_everything_mode_reports_progress_and_ends(client: httpx.Client, image_id: str) -> None:
    started = client.post("/v1/everything", json={"image_id": image_id, "mode": "fast", "points_per_side": 8})
    assert started.status_code == 202
    job = started.json()
    with client.stream("GET", f"/v1/jobs/{job['job_id']}/events") as stream:
        events = [line.partition(": ")[2] for line in stream.iter_lines() if line]
    assert events[-2] == "end"
    end = json.loads(events[-1])
    assert (end["state"], end["partial"]) == ("done", False)
    assert end["progress"]["done"] == end["progress"]["total"] > 0
    assert len(end["masks"]) > 3
    assert masks_of(end["masks"]).any((1, 2)).all()
    assert client.get(f"/v1/jobs/{job['job_id']}").json() == end


def test_a_run_of_everything_mode_can_be_canceled(client: httpx.Client, image_id: str) -> None:
    job = client.post("/v1/everything", json={"image_id": image_id, "points_per_side": 32}).json()
    while client.get(f"/v1/jobs/{job['job_id']}").json()["progress"]["done"] == 0:
        time.sleep(0.05)
    assert client.delete(f"/v1/jobs/{job['job_id']}").status_code == 200
    while (view := client.get(f"/v1/jobs/{job['job_id']}").json())["state"] == "running":
        time.sleep(0.05)
    assert (view["state"], view["partial"]) == ("canceled", True)
    assert view["progress"]["done"] < view["progress"]["total"]


def test_the_server_describes_itself(client: httpx.Client, image_id: str) -> None:
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/ready").json() == {"status": "ready"}
    models = client.get("/v1/models").json()
    assert models["default"] == next(iter(models["models"])) == "onnx"
    metrics = client.get("/metrics").text
    assert 'mobilesam_requests_total{route="/v1/images",status="200"}' in metrics
    assert 'mobilesam_queue_jobs{queue="encoders"}' in metrics
    document = client.get("/openapi.json")
    assert {"/v1/images", "/v1/segment", "/v1/everything", "/v1/jobs/{job_id}/events"} <= document.json()[
        "paths"
    ].keys()
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', document.text))
    assert {"Segment", "Prompt", "Step", "Everything", "Objects", "Problem"} <= referred
    assert referred <= document.json()["components"]["schemas"].keys()


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"prompts": [{"box": [1, 1, 9, 9]}]}, 410, "The server has no image 'None'. Upload the image again."),
        ({"image_id": "0" * 64, "prompts": [{"box": [1, 1, 9, 9]}]}, 410, "Upload the image again."),
        ({"image_id": "ID", "prompts": []}, 400, "prompts must be a list of objects"),
        ({"image_id": "ID", "prompts": [{"box": [1, 1, 9, 9]}] * 10_000}, 400, "prompts must be at most 1000"),
        ({"image_id": "ID", "prompts": [{"points": [[500, 10, 1]]}]}, 400, "lie in the image, 451 wide and 300 high"),
        ({"image_id": "ID", "prompts": [{"points": [[5, 10, 0]]}]}, 400, "a foreground point or a box"),
        ({"image_id": "ID", "prompts": [{"points": [[5, 10]], "labels": [1, 1]}]}, 400, "one label a point"),
        ({"image_id": "ID", "prompts": [{"points": [[5, 5, 1]] * 300}]}, 400, "be at most 256"),
        ({"image_id": "ID", "prompts": [{"box": [1, 1, 9, 9]}], "select": "best"}, 400, "select must be one of"),
        ({"image_id": "ID", "prompts": [{"box": [1, 1, 9, 9]}], "masks": "svg"}, 400, "masks must be one of"),
        ({"image_id": "ID", "prompts": [{"box": [1, 1, 9, 9]}], "model": "sam3"}, 400, "model must be one of"),
        ({"image_id": "ID", "prompts": [{"box": [1, 1, 9, 9]}], "select": {"a": 1}}, 400, "select must be one of"),
        ({"image_id": "ID", "promts": []}, 400, "did you mean 'prompts'?"),
        ([], 400, "the request body must be a JSON object"),
    ],
)
def test_bad_requests_get_problem_documents(
    client: httpx.Client, image_id: str, body: Any, status: int, text: str
) -> None:
    sent = json.dumps(body).replace('"ID"', f'"{image_id}"')
    response = client.post("/v1/segment", content=sent)
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert text in problem["detail"]


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"", 400, "the file is empty"),
        (b"not an image", 400, "the file is not an image. Open a JPEG"),
        (b'{"prompts": NaN}', 400, "is not an image"),
    ],
)
def test_bad_images_get_problem_documents(client: httpx.Client, content: bytes, status: int, text: str) -> None:
    response = client.post("/v1/images", content=content)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert text in response.json()["detail"]


def test_other_bad_requests_get_problem_documents(client: httpx.Client, image_id: str) -> None:
    nan = client.post("/v1/segment", content=f'{{"image_id": "{image_id}", "prompts": [{{"box": [1, 1, 9, NaN]}}]}}')
    assert (nan.status_code, nan.json()["detail"][:31]) == (400, "the request body must be JSON, ")
    large = client.post("/v1/segment", content=b" " * 2_000_000, headers={"content-type": "application/json"})
    assert (large.status_code, large.headers["content-type"]) == (400, "application/problem+json")
    unknown = client.get("/v1/nothing")
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    method = client.put("/v1/images")
    assert (method.status_code, method.headers["content-type"]) == (405, "application/problem+json")
    job = client.get("/v1/jobs/abc")
    assert (job.status_code, job.json()["detail"]) == (410, "The server has no job 'abc'. Start it again.")
    side = client.post("/v1/everything", json={"image_id": image_id, "points_per_side": 10_000})
    assert (side.status_code, side.json()["detail"][:34]) == (400, "points_per_side must be a whole nu")
    several = client.post(
        "/v1/segment",
        json={"image_id": image_id, "prompts": [{"box": [1, 1, 9, 9]}] * 2},
        headers={"Accept": "image/png"},
    )
    assert (several.status_code, several.json()["detail"][:38]) == (400, "prompts must be one for a PNG file, go")
    rebound = client.get("/v1/models", headers={"Host": "evil.example"})
    assert (rebound.status_code, rebound.headers["content-type"]) == (421, "application/problem+json")
