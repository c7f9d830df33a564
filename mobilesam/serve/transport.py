"""HTTP requests of :class:`mobilesam.Client`, which are repeated while the server is busy or restarts."""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from mobilesam.errors import InputError, MobileSamError

_RETRIED = (408, 429, 502, 503, 504)  # statuses of a server that is busy, or restarts
_BROKEN = 500  # from a proxy, whose server ended during the request; from the server itself, the request fails again


class ServerResponseError(MobileSamError):
    """The server refused a request, or cannot be reached.

    status: of HTTP, or 0 if there was no response.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Transport:
    """Requests to the server at a URL, with headers for all of them; see :class:`mobilesam.Client`."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float, retries: int) -> None:
        self._url, self._headers, self._timeout, self._retries = url, dict(headers), timeout, retries

    def json(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        """Return the JSON of a response, as :meth:`send` its bytes."""
        content = self.send(method, path, body, headers)
        try:
            return json.loads(content)
        except ValueError as error:
            message = f"The server {self._url} does not respond like mobilesam serve. Check the URL."
            raise ServerResponseError(0, message) from error

    def send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> bytes:
        """Send a request, and return the body of the response; a busy server is tried again.

        Args:
            body: bytes, or JSON values, or None.

        Raises:
            InputError: the server cannot use the request.
            ServerResponseError: it refuses the request, or cannot be reached.
        """
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        request = urllib.request.Request(
            self._url + path, content, {**self._headers, **headers, "Content-Type": kind}, method=method
        )
        for attempt in range(self._retries + 1):
            wait = 0.2 * 2**attempt * random.uniform(0.8, 1.2)
            try:
                with urllib.request.urlopen(request, timeout=self._timeout) as response:
                    return bytes(response.read())
            except urllib.error.HTTPError as error:
                failed = ServerResponseError(error.code, _detail(error))
                if error.code not in _RETRIED and not (error.code == _BROKEN and _is_of_proxy(error)):
                    break
                wait = max(wait, float(error.headers.get("Retry-After", 0)))
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None) or error
                failed = ServerResponseError(0, f"The server {self._url} cannot be reached ({reason}). Check the URL.")
            if attempt < self._retries:
                time.sleep(wait)
        if failed.status == http.client.BAD_REQUEST:
            raise InputError(str(failed)) from failed
        raise failed


def _is_of_proxy(error: urllib.error.HTTPError) -> bool:
    return error.headers.get_content_type() != "application/problem+json"


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"The server responded with status {error.code}."
