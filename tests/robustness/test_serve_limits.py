"""Hostile and broken clients of ``mobilesam serve``: each gets a problem document, and the server goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed: run make test")

import httpx

from benchmarks.serve_process import ServeProcess
from tests.robustness.server_client import connect, post, received
from tests.serve.serving import serving

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def server() -> Iterator[ServeProcess]:
    with serving("--max-upload-mb", "2", "--max-pixels", "1000000") as running:
        yield running
        assert httpx.get(f"{running.url}/health").json()["status"] == "ok"


@pytest.fixture(scope="module")
def image_id(server: ServeProcess, photo: Any) -> str:
    response = httpx.post(f"{server.url}/v1/images", content=Path(photo("chelsea.png")).read_bytes(), timeout=60)
    return str(response.raise_for_status().json()["image_id"])


def status_and_problem(response: bytes) -> tuple[int, str]:
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(body)["detail"]


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server: ServeProcess) -> None:
    with connect(server.url) as connection:
        connection.sendall(post(server.url, "/v1/images", "Connection: close\r\n", 10_000_000))
        status, detail = status_and_problem(received(connection))
    assert status == 413
    assert detail == (
        "the file must have at most 2 MB, got 10.0 MB; shrink it, or start the server with a larger --max-upload-mb"
    )


def test_a_body_without_end_is_cut(server: ServeProcess) -> None:
    with connect(server.url) as connection:
        head = post(server.url, "/v1/images", "", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        connection.sendall(head)
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < started + 60:
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
                time.sleep(0.02)
    assert time.monotonic() < started + 60, "the server closes the connection soon"


def test_a_slow_body_ends(server: ServeProcess) -> None:
    with connect(server.url) as connection:
        connection.sendall(post(server.url, "/v1/segment", "Connection: close\r\n", 100) + b"{")
        response = received(connection)
    if response:  # else the connection timed out first
        status, detail = status_and_problem(response)
        assert (status, detail[:47]) == (408, "The request body did not arrive in time. Send t")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"image_id": ' + b"9" * 5000 + b"}",
        b'{"image_id": "ID", "prompts": [{"points": [[1e999, 1, 1]]}]}',
        b'{"image_id": "ID", "prompts": [{"points": [[1, 1, 2]]}]}',
        b'{"image_id": "ID", "prompts": [{"points": [[1, 1, true]]}]}',
        b'{"image_id": "ID", "prompts": [{"points": "all"}]}',
        b'{"image_id": "ID", "prompts": [{"box": [900, 900, 990, 990]}]}',
        b'{"image_id": "ID", "prompts": [{"steps": [{"points": [[1, 1]]}, {"points": [[1, 2]]}]}]}',
        b'{"image_id": "ID", "prompts": {"0": {"box": [1, 1, 9, 9]}}}',
        b'{"image_id": "ID", "prompts": [null]}',
        b'{"image_id": "ID", "prompts": [{"points": [[1, 1]], "labels": "1"}]}',
        b'{"image_id": "ID", "prompts": [{"box": [1, 1, 9, 9]}], "model": 3}',
    ],
)
def test_malformed_bodies_are_refused(server: ServeProcess, image_id: str, body: bytes) -> None:
    for path in ("/v1/segment", "/v1/everything"):
        response = httpx.post(server.url + path, content=body.replace(b"ID", image_id.encode()), timeout=60)
        assert response.status_code in (400, 410), response.text
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nx\r\n--b--\r\n',
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nx\r\n--b--\r\n',
        ),
        ("multipart/form-data; boundary=b", b"".join(b"--b\r\nA: b\r\n\r\n\r\n" for _ in range(100)) + b"--b--"),
    ],
)
def test_malformed_forms_are_refused(server: ServeProcess, content_type: str, body: bytes) -> None:
    for path in ("/v1/images", "/v1/segment"):
        response = httpx.post(server.url + path, content=body, headers={"Content-Type": content_type}, timeout=60)
        assert response.status_code == 400, response.text
        assert response.headers["content-type"] == "application/problem+json"


def test_images_beyond_the_limits_are_refused(server: ServeProcess, photo: Any) -> None:
    import io

    import numpy as np
    from PIL import Image

    large, cut = io.BytesIO(), Path(photo("chelsea.png")).read_bytes()[:20_000]
    Image.fromarray(np.zeros((2000, 2000, 3), np.uint8)).save(large, "PNG")
    for content, text in ((large.getvalue(), "4 million pixels"), (cut, "is damaged or incomplete")):
        response = httpx.post(f"{server.url}/v1/images", content=content, timeout=60)
        assert (response.status_code, text in response.json()["detail"]) == (400, True), response.text


def test_a_client_that_left_costs_nothing_more(server: ServeProcess, image_id: str) -> None:
    prompt = {"points": [[200, 150, 1], [20, 20, 0]]}
    body = json.dumps({"image_id": image_id, "prompts": [prompt] * 1000}).encode()
    with connect(server.url) as connection:
        connection.sendall(post(server.url, "/v1/segment", "", len(body)) + body)
        time.sleep(0.5)
    started = time.monotonic()
    while 'mobilesam_queue_jobs{queue="decoders"} 0.0' not in httpx.get(f"{server.url}/metrics").text:
        assert time.monotonic() - started < 20, "1000 prompts take longer"
        time.sleep(0.1)


def test_sigterm_finishes_what_runs(photo: Any) -> None:
    with serving() as server:
        content = Path(photo("chelsea.png")).read_bytes()
        image_id = httpx.post(f"{server.url}/v1/images", content=content, timeout=60).json()["image_id"]
        body = {"image_id": image_id, "prompts": [{"box": [30, 20, 400, 290]}] * 8}
        results: list[httpx.Response] = []
        thread = threading.Thread(
            target=lambda: results.append(httpx.post(f"{server.url}/v1/segment", json=body, timeout=60))
        )
        thread.start()
        while 'queue="decoders"} 1.0' not in httpx.get(f"{server.url}/metrics").text and thread.is_alive():
            pass
        os.kill(server.process.pid, signal.SIGTERM)
        thread.join()
        assert server.process.wait(60) == 0
        server.stop_reading()
    (response,) = results
    assert response.status_code in (200, 503), "503 if the server ended before the masks were measured"
