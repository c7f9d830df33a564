"""What a visitor reads when a request fails, whatever the reason."""

from __future__ import annotations

import errno
import logging
from typing import Any

from mobilesam.errors import MobileSamError, is_out_of_memory
from mobilesam.webui.uploads import UploadError
from mobilesam.webui.visitors import GoneError
from mobilesam.webui.workers import BusyError

_log = logging.getLogger("mobilesam.webui")

_DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quotas


class ServerError(MobileSamError):
    """The server cannot answer a request, through no fault of the visitor's."""


def explained(error: Exception) -> MobileSamError:
    """Return an error as one of ours; one that nobody foresaw is written to the log with its traceback."""
    if isinstance(error, MobileSamError):
        return error
    if is_out_of_memory(error):
        return ServerError("The server ran out of memory. Use a smaller image, or try again later.")
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return ServerError("The server's disk is full. Try again later.")
    _log.error("a request failed", exc_info=error)
    return ServerError(f"The server failed with {type(error).__name__}. Its log has the details.")


def failure(error: MobileSamError) -> dict[str, Any]:
    """Return an error as the page reads it; ``gone`` asks it to open its image again."""
    return {"error": str(error), "gone": isinstance(error, GoneError)}


def status_of(error: MobileSamError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, UploadError):
        return error.status
    if isinstance(error, ServerError):
        return 500
    return 410 if isinstance(error, GoneError) else 429 if isinstance(error, BusyError) else 400
