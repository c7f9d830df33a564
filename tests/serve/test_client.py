"""``mobilesam.Client`` against a running server, compared with SamPredictor."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from benchmarks.serve_process import ServeProcess
from mobilesam.errors import ImageNotSetError, InputError
from mobilesam.image.read import read_image
from mobilesam.serve.client import ServerResponseError
from tests.serve.serving import serving

pytestmark = pytest.mark.weights

POINT = {"point_coords": [[200, 150]], "point_labels": [1]}
BOX = {"box": [30, 20, 400, 290]}


@pytest.fixture(scope="module")
def predictor(onnx_sam: Any, cat: Path) -> mobilesam.SamPredictor:
    predictor = mobilesam.SamPredictor(onnx_sam)
    predictor.set_image(read_image(cat))
    return predictor


@pytest.fixture
def client(server: ServeProcess, cat: Path) -> mobilesam.Client:
    client = mobilesam.Client(server.url)
    client.set_image(cat)
    return client


@pytest.mark.parametrize("prompt", [POINT, BOX, {**POINT, **BOX}], ids=["point", "box", "both"])
def test_predictions_are_those_of_sam_predictor(
    client: mobilesam.Client, predictor: mobilesam.SamPredictor, prompt: dict[str, Any]
) -> None:
    for ours, local in (
        (client.predict(**prompt, multimask_output=False), predictor.predict(**prompt, multimask_output=False)),
        (client.predict_one(**prompt), predictor.predict_one(**prompt)),
    ):
        assert np.array_equal(ours.masks, local.masks)
        assert np.allclose(ours.iou_predictions, local.iou_predictions, atol=1e-6)
    three, local = client.predict(**prompt), predictor.predict(**prompt)
    order = np.argsort(-local.iou_predictions)
    assert np.array_equal(three.masks, local.masks[order])
    one, local_one = client.predict_one(**prompt), predictor.predict_one(**prompt)
    assert (one.confidence is None) == (local_one.confidence is None)


def test_an_embedding_is_decoded_elsewhere(client: mobilesam.Client, onnx_sam: Any) -> None:
    local = mobilesam.SamPredictor(onnx_sam)
    local.original_size, local.input_size = client.original_size, (681, 1024)
    local.features = client.embedding().astype(np.float32)
    local.is_image_set = True
    assert (local.predict_one(**BOX).masks == client.predict_one(**BOX).masks).mean() > 0.999


def test_arrays_and_bytes_are_images_too(server: ServeProcess, cat: Path, predictor: mobilesam.SamPredictor) -> None:
    expected = predictor.predict_one(**BOX).masks
    client = mobilesam.Client(server.url)
    for image in (read_image(cat), cat.read_bytes()):
        client.set_image(image)
        assert client.original_size == (300, 451)
        assert np.array_equal(client.predict_one(**BOX).masks, expected)
    client.set_image(np.ascontiguousarray(read_image(cat)[..., ::-1]), "BGR")
    assert np.array_equal(client.predict_one(**BOX).masks, expected)


def test_everything_mode(client: mobilesam.Client, onnx_sam: Any, cat: Path) -> None:
    records = list(client.everything("fast", points_per_side=8))
    local = mobilesam.SamAutomaticMaskGenerator(onnx_sam, mode="fast", points_per_side=8).generate(read_image(cat))
    assert len(records) == len(local) > 3
    for ours, expected in zip(records, local, strict=True):
        assert np.array_equal(ours["segmentation"], expected["segmentation"])


def test_mistakes_raise_input_errors(client: mobilesam.Client, server: ServeProcess, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="point_coords must have shape"):
        client.predict(point_coords=[[1, 2, 3]], point_labels=[1])
    with pytest.raises(InputError, match="point_labels must have one value for each of 1 points, got 2"):
        client.predict(point_coords=[[1, 2]], point_labels=[1, 1])
    with pytest.raises(InputError, match="point_coords must be numbers, got 'left'"):
        client.predict(point_coords="left", point_labels=[1])
    with pytest.raises(InputError, match="box must be one box, got 2; call predict for each"):
        client.predict(box=[[1, 2, 3, 4], [5, 6, 7, 8]])
    with pytest.raises(InputError, match="the label must be 1 or 0, got -1"):
        client.predict(point_coords=[[1, 2]], point_labels=[-1])
    with pytest.raises(InputError, match="lie in the image, 451 wide and 300 high"):
        client.predict(point_coords=[[1000, 2]], point_labels=[1])
    with pytest.raises(InputError, match="select must be one of"):
        client.predict_one(**BOX, select="best")
    with pytest.raises(InputError, match="is not an image"):
        mobilesam.Client(server.url).set_image(b"nothing")
    with pytest.raises(InputError, match="image must be a file"):
        mobilesam.Client(server.url).set_image(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="mode must be one of"):
        client.everything("quick")
    with pytest.raises(ImageNotSetError):
        mobilesam.Client(server.url).predict(**BOX)
    with pytest.raises(InputError, match="url must begin with http"):
        mobilesam.Client("localhost:8080")
    started = time.monotonic()
    with pytest.raises(ServerResponseError, match="cannot be reached"):
        mobilesam.Client("http://127.0.0.1:9", retries=1).set_image(b"x")
    assert time.monotonic() - started < 10


def test_a_client_goes_on_after_a_restart(cat: Path, predictor: mobilesam.SamPredictor) -> None:
    """The new server does not know the image; the client waits for it, and sends the image again."""
    with serving() as server:
        client = mobilesam.Client(server.url, retries=10)
        client.set_image(cat)
        server.process.kill()
        server.process.wait()
        server.stop_reading()
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(client.predict_one(**BOX)))
        thread.start()
        with serving("--port", server.url.rpartition(":")[2]):
            thread.join(120)
    (result,) = results
    assert np.array_equal(result.masks, predictor.predict_one(**BOX).masks)


def test_embeddings_on_disk_serve_another_server(cat: Path, tmp_path: Path, predictor: mobilesam.SamPredictor) -> None:
    options = ("--embeddings", str(tmp_path / "embeddings"))
    with serving(*options) as server:
        mobilesam.Client(server.url).set_image(cat)
    with serving(*options) as server:
        client = mobilesam.Client(server.url)
        client.set_image(cat)
        assert np.array_equal(client.predict_one(**BOX).masks, predictor.predict_one(**BOX).masks)
        everything = client.everything("fast", points_per_side=8)
        local = mobilesam.SamAutomaticMaskGenerator(predictor.mask_model, mode="fast", points_per_side=8)
        for ours, expected in zip(everything, local.generate(read_image(cat)), strict=True):
            assert np.array_equal(ours["segmentation"], expected["segmentation"])
        import httpx

        metrics = httpx.get(f"{server.url}/metrics").text
    assert 'route="/v1/images"' not in metrics, "the image was not sent again"


@pytest.mark.torch
def test_another_model_gets_an_image_that_only_has_an_embedding(
    cat: Path, tmp_path: Path, predictor: mobilesam.SamPredictor
) -> None:
    """The embedding is of the weights, so both models use it; without it, the other one asks for the image again."""
    folder = tmp_path / "embeddings"
    with serving("--backend", "auto", "--embeddings", str(folder)) as server:
        mobilesam.Client(server.url).set_image(cat)
    with serving("--backend", "auto", "--embeddings", str(folder)) as server:
        client = mobilesam.Client(server.url, model="torch")
        client.set_image(cat)
        for path in folder.glob("*.npz"):
            path.unlink()
        mask = client.predict_one(**BOX).masks[0]
    expected = predictor.predict_one(**BOX).masks[0]
    assert (mask & expected).sum() / (mask | expected).sum() > 0.999
