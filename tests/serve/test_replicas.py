"""``mobilesam serve --engine ray`` with two replicas: equal masks, shared jobs, and processes that are killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from benchmarks.serve_process import ServeProcess
from mobilesam.errors import InputError
from mobilesam.image.read import read_image
from mobilesam.serve import job_board
from mobilesam.serve.job_board import Board, Published
from mobilesam.serve.replicas import Settings
from tests.serve.serving import serving

KEY = "a-key-of-this-test-file"
BOX = {"box": [30, 20, 400, 290]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    pytest.importorskip("ray.serve")
    folder = tmp_path_factory.mktemp("embeddings")
    options = ("--engine", "ray", "--replicas", "2", "--embeddings", str(folder), "--threads", "1", "--rate", "1000")
    with serving(*options, environment={"MOBILESAM_API_KEYS": KEY}) as running:
        yield running


def request(server: ServeProcess, method: str, path: str, **options: Any) -> Any:
    import httpx

    return httpx.request(method, server.url + path, headers={"X-API-Key": KEY}, timeout=60, **options)


@pytest.mark.weights
@pytest.mark.slow
def test_masks_are_those_of_sam_predictor(server: ServeProcess, cat: Path, onnx_sam: Any) -> None:
    client, predictor = mobilesam.Client(server.url, KEY), mobilesam.SamPredictor(onnx_sam)
    client.set_image(cat)
    predictor.set_image(read_image(cat))
    assert np.array_equal(client.predict_one(**BOX).masks, predictor.predict_one(**BOX).masks)
    half = request(server, "GET", f"/v1/images/{client.image_id}/embedding")
    features = np.frombuffer(half.content, "<f2").reshape(1, 256, 64, 64)
    assert np.array_equal(features, predictor.features.astype(np.float16))


@pytest.mark.weights
@pytest.mark.slow
def test_any_replica_shows_a_job_and_ends_it(server: ServeProcess, cat: Path) -> None:
    """Requests without the identifier of an image in a header go to either replica."""
    image_id = request(server, "POST", "/v1/images", content=cat.read_bytes()).json()["image_id"]

    def start(mode: str) -> str:
        response = request(server, "POST", "/v1/everything", json={"image_id": image_id, "mode": mode})
        assert response.status_code == 202
        return str(response.json()["job_id"])

    def followed(job_id: str) -> dict[str, Any]:
        while True:
            responses = [request(server, "GET", f"/v1/jobs/{job_id}") for _ in range(4)]
            assert [response.status_code for response in responses] == [200] * 4
            views = [response.json() for response in responses]
            if all(view["state"] not in ("queued", "running") for view in views):
                assert all(view == views[0] for view in views)
                return dict(views[0])

    done = followed(start("fast"))
    assert (done["state"], done["partial"]) == ("done", False)
    assert len(done["masks"]) > 5
    job_id = start("exact")
    assert request(server, "DELETE", f"/v1/jobs/{job_id}").status_code == 200
    assert followed(job_id)["state"] == "canceled"


@pytest.mark.weights
@pytest.mark.slow
def test_bad_requests_are_problems_behind_the_proxy(server: ServeProcess) -> None:
    for response, status in (
        (request(server, "POST", "/v1/images", content=b"no image"), 400),
        (request(server, "POST", "/v1/images", content=bytes(51_000_000)), 413),
        (request(server, "POST", "/v1/segment", json={"image_id": "0" * 64, "prompts": [BOX]}), 410),
        (request(server, "GET", "/v1/jobs/none"), 410),
        (request(server, "GET", "/nothing"), 404),
    ):
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
    import httpx

    assert httpx.get(f"{server.url}/v1/models").status_code == 401


@pytest.mark.weights
@pytest.mark.slow
def test_killed_processes_lose_no_request(server: ServeProcess, cat: Path, onnx_sam: Any) -> None:
    """Each image is a new one, so that the encoders work when one of them is killed."""
    from benchmarks.serve_replicas import BOARD, ENCODER, REPLICA, kill

    pixels, lock = read_image(cat), threading.Lock()
    masks: list[tuple[np.ndarray, np.ndarray]] = []
    errors: list[Exception] = []
    ended = threading.Event()

    def work(number: int) -> None:
        client, random = mobilesam.Client(server.url, KEY, retries=10), np.random.default_rng(number)
        try:
            while not ended.is_set():
                image = pixels.copy()
                image[random.integers(300), random.integers(451)] = random.integers(256, size=3)
                client.set_image(image)
                mask = client.predict_one(**BOX).masks
                with lock:
                    masks.append((image, mask))
        except Exception as error:
            errors.append(error)

    def segment() -> None:
        client = mobilesam.Client(server.url, KEY, retries=10)
        try:
            while not ended.is_set():
                client.set_image(cat)
                assert sum(1 for _ in client.everything("fast")) > 3
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    threads.append(threading.Thread(target=segment))
    for thread in threads:
        thread.start()
    for name in (ENCODER, REPLICA, BOARD):
        before = len(masks)
        kill(name)
        deadline = time.monotonic() + 300
        while len(masks) < before + 4 and not errors and time.monotonic() < deadline:
            time.sleep(0.1)
    ended.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(masks) >= 12
    predictor = mobilesam.SamPredictor(onnx_sam)
    for image, mask in masks[::3]:
        predictor.set_image(image)
        assert np.array_equal(mask, predictor.predict_one(**BOX).masks)


def test_the_board_knows_runs_until_their_replica_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(job_board.time, "monotonic", lambda: now[0])
    board = Board()
    running, done = {"job_id": "a", "state": "running"}, {"job_id": "b", "state": "done"}
    heard = board.publish([Published(running, "key", 0), Published(done, "key", 9)])
    assert [each.canceled for each in heard] == [False, False]
    assert board.view("a", "key") == running
    assert board.view("a", "another") is None
    assert board.view("c", "key") is None
    board.view("a", "key", cancel=True)
    assert board.publish([Published(running, "key", 0, idle=5.0)]) == [(True, 0)]
    now[0] += 11
    assert board.view("a", "key") is None, "its replica says nothing more"
    assert board.view("b", "key") == done
    now[0] += 601
    board.publish([])
    assert board.view("b", "key") is None, "it is kept for ten minutes"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "embeddings must be given for replicas"),
        ({"embeddings": "folder", "replica": 2}, "a setting must be one of .*, got 'replica'"),
        ({"embeddings": "folder", "models": "tuned.pt"}, "models must be a list, got 'tuned.pt'"),
        ({"embeddings": "folder", "replicas": 0}, "replicas must be a whole number of at least 1, got 0"),
        ({"embeddings": "folder", "encoders": "2"}, "encoders must be a whole number of at least 0, got '2'"),
        ({"embeddings": "folder", "limits": 3}, "limits must be an object, got 3"),
        ({"embeddings": "folder", "limits": {"cache": 3}}, "a limit must be one of .*, got 'cache'"),
    ],
)
def test_settings_that_cannot_be_used(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings.of(values)


def test_paths_do_not_depend_on_the_folder_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuned.pt").touch()
    (tmp_path / "embeddings").mkdir()
    settings = Settings("embeddings", models=("tuned.pt", "mobile_sam")).absolute()
    assert settings.embeddings == str(tmp_path / "embeddings")
    assert settings.models == (str(tmp_path / "tuned.pt"), "mobile_sam")
    assert Settings("s3://bucket/embeddings").absolute().embeddings == "s3://bucket/embeddings"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replicas", "2"], "--replicas must be used with --engine ray"),
        (["--ray-address", "auto"], "--ray-address must be used with --engine ray"),
        (["--engine", "ray"], "embeddings must be given for replicas"),
        (["--engine", "ray", "--embeddings", "e", "--host", "0.0.0.0"], "--host must be 127.0.0.1 without API keys"),
        (
            ["--engine", "ray", "--embeddings", "e", "--gpus", "1", "--port", "0"],
            "Ray must have a GPU for all processes",
        ),
        (["--engine", "ray", "--embeddings", "e", "--model", "none.pt"], "none.pt"),
        (["--engine", "ray", "--embeddings", "e", "--ray-address", "127.0.0.1:1"], "--ray-address must be a cluster"),
    ],
)
def test_commands_that_cannot_be_used(arguments: list[str], message: str, tmp_path: Path) -> None:
    pytest.importorskip("ray.serve")
    command = [sys.executable, "-m", "mobilesam", "serve", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert result.returncode in (1, 2)
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
