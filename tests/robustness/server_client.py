"""A running server, and the requests of well-behaved and hostile clients."""

from __future__ import annotations

import contextlib
import importlib.util
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
