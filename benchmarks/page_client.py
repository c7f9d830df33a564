"""A client of the page without a browser, for benchmarks and tests."""

from __future__ import annotations

import json
from typing import Any


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
