"""A running server, and the requests of well-behaved and hostile clients."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks.webui_server import Server
from tests.cores import on_all_cores


@contextlib.contextmanager
def serving(*options: str) -> Iterator[Server]:
    """Serve during a block, without decoding in tabs by default, and check that the log has no traceback."""
    if not importlib.util.find_spec("gradio"):
        pytest.skip("Gradio is not installed: run make test")
    with on_all_cores():
        server = Server("--backend", "onnx", "--decode", "server", *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
    assert "Traceback" not in "".join(server.log)


class Client:
    """A client that sends the requests of the page without a browser."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.headers = headers
        self.token = ""

    def request(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Any:
        """Send a request over a connection of its own and return the response."""
        import httpx

        headers = self.headers | (headers or {})
        return httpx.request(method, self.url + path, headers=headers, timeout=60, verify=False, **options)

    def call(self, name: str, **fields: Any) -> dict[str, Any]:
        """Call a server function of the page."""
        response = self.call_raw(name, {"token": self.token} | fields)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def call_raw(self, name: str, fields: Any) -> Any:
        """Call a server function of the page and return the whole response."""
        body = {"fn_name": name, "component_id": 1, "session_hash": "client", "data": fields}
        return self.request("POST", "/gradio_api/component_server", content=json.dumps(body))

    def hello(self) -> str:
        """Start a session and return its token."""
        self.token = str(self.call("hello")["token"])
        return self.token

    def open(self, content: bytes) -> dict[str, Any]:
        """Open an image and return the last line of the response."""
        response = self.request("POST", "/service/image", content=content, headers={"X-Session": self.token})
        return dict(json.loads(response.text.splitlines()[-1]))

    def post(self, path: str, **body: Any) -> Any:
        """Post JSON to a route of the page and return the whole response."""
        headers = {"X-Session": self.token}
        return self.request("POST", f"/service/{path}", content=json.dumps(body), headers=headers)

    def point(self, x: int, y: int) -> dict[str, Any]:
        """Request the masks of a point and return the response."""
        return dict(self.post("predict", prompt={"points": [[x, y, 1]]}).json())

    def freeze(self, x: int, y: int) -> dict[str, Any]:
        """Return the mask of a point at the original size of the image."""
        (frozen,) = self.post("freeze", prompt={"points": [[x, y, 1]]}).json()["objects"]
        return dict(frozen)

    def health(self) -> dict[str, Any]:
        """Return the response of ``/health``."""
        return dict(self.request("GET", "/health").json())


def page_prompt(prompt: Any) -> dict[str, Any]:
    """Return a prompt in the form that the page sends."""
    return {
        "points": [[*point, label] for point, label in zip(prompt.points, prompt.labels, strict=True)],
        "box": prompt.box and list(prompt.box),
        "steps": [page_prompt(step) for step in prompt.steps],
        "chosen": prompt.chosen,
    }


def connect(url: str) -> socket.socket:
    """Return a connection with a timeout."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60)


def post(url: str, path: str, headers: str, length: int) -> bytes:
    """Return the head of a request whose body has so many bytes."""
    return f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{headers}Content-Length: {length}\r\n\r\n".encode()


def received(connection: socket.socket) -> bytes:
    """Return all that the server sends until it closes the connection."""
    with contextlib.suppress(ConnectionResetError):
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def status(connection: socket.socket) -> int:
    """Return the status of the response that comes next."""
    return int(connection.recv(65536).split()[1])
