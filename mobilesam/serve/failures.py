"""The message, the JSON and the HTTP status of a request that failed."""

from __future__ import annotations

import errno
import logging
from typing import Any

from mobilesam.errors import MobileSamError, is_out_of_memory
from mobilesam.serve.workers import BusyError

_log = logging.getLogger("mobilesam.serve")

_DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quotas


class ServerError(MobileSamError):
    """A request failed through no fault of the client."""


class ExpiredError(MobileSamError):
    """What a request refers to is no longer kept, such as its image. The client sends it again."""


class RefusedError(MobileSamError):
    """A request is refused with an HTTP status; ``retry_after``: seconds after which it may be sent again, or 0."""

    def __init__(self, status: int, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


def explained(error: Exception) -> MobileSamError:
    """Return an error of this package for any error; an unexpected one is logged with its traceback."""
    if isinstance(error, MobileSamError):
        return error
    if is_out_of_memory(error):
        return ServerError("The server ran out of memory. Use a smaller image, or try again later.")
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return ServerError("The server's disk is full. Try again later.")
    _log.error("a request failed", exc_info=error)
    return ServerError(f"The request failed on the server with {type(error).__name__}. Its log has the details.")


def failure(error: MobileSamError) -> dict[str, Any]:
    """Return an error as JSON; ``expired`` tells the page to open its image again."""
    return {"error": str(error), "expired": isinstance(error, ExpiredError)}


def status_of(error: MobileSamError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, RefusedError):
        return error.status
    statuses = {ServerError: 500, ExpiredError: 410, BusyError: 429}
    return next((status for kind, status in statuses.items() if isinstance(error, kind)), 400)
