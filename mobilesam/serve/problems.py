"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from mobilesam.errors import InputError, MobileSamError, sentence
from mobilesam.serve.failures import RefusedError, explained, status_of
from mobilesam.serve.values import LeftError
from mobilesam.serve.workers import BusyError, StoppedError

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER = 1  # seconds, where the queue is full
_LEFT = 499  # as in nginx; nobody receives it


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return a problem document."""
    title = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Client Closed Request"
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def response(error: Exception) -> Response:
    """Return the problem document of any error; one that is not expected is logged."""
    shown = explained(error)
    headers: dict[str, str] = {}
    status = status_of(shown)
    if isinstance(shown, StoppedError):
        status = 503
    elif isinstance(shown, LeftError):
        status = _LEFT
    retry_after = shown.retry_after if isinstance(shown, RefusedError) else 0
    if isinstance(shown, BusyError | StoppedError):
        retry_after = _RETRY_AFTER
    if retry_after:
        headers["Retry-After"] = str(retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(status, str(shown), headers)


def add_handlers(app: FastAPI) -> None:
    """Make an application respond to all errors with problem documents."""

    async def refuse(request: Request, error: Exception) -> Response:
        return response(error)

    async def refuse_http(request: Request, error: HTTPException) -> Response:
        details = {
            404: sentence("the path", "be one of this server", repr(request.url.path[:200]), "see /openapi.json"),
            405: sentence("the method", "be one of this path", request.method, "see /openapi.json"),
        }
        return problem(error.status_code, details.get(error.status_code, str(error.detail)), dict(error.headers or {}))

    async def refuse_parameter(request: Request, error: RequestValidationError) -> Response:
        first: Any = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        return response(InputError(sentence(name, "be valid", repr(first.get("input"))[:80], first["msg"])))

    for kind in (MobileSamError, MemoryError, OSError):
        app.add_exception_handler(kind, refuse)
    app.add_exception_handler(Exception, refuse)
    app.add_exception_handler(HTTPException, refuse_http)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, refuse_parameter)  # type: ignore[arg-type]
