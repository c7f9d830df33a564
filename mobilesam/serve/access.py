"""API keys and the rate of requests, checked before a request is received."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mobilesam.errors import InputError, MobileSamError, sentence
from mobilesam.files import read_bytes
from mobilesam.serve.failures import RefusedError

OPEN_PATHS = ("/health", "/ready")  # for load balancers, which have no key
VARIABLE = "MOBILESAM_API_KEYS"
LEAST_KEY = 16  # characters
_FILE = 1_000_000  # bytes
_CLIENTS = 10_000  # whose rate is remembered

CLIENT = "mobilesam.client"  # in the scope of a request: the name of its client


def read_keys(path: Path | None) -> tuple[str, ...]:
    """Return the API keys in a file, one a line, and in the variable :data:`VARIABLE`, separated by commas.

    Empty lines and lines that begin with # are ignored.

    Raises:
        InputError: the file cannot be read, contains no key, or a key is too short.
    """
    lines: list[str] = []
    if path is not None:
        try:
            lines = read_bytes(path, _FILE).decode("utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(sentence("--api-keys", "be a text file", f"{path} ({reason})", "name another")) from error
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if path is not None and not keys:
        raise InputError(sentence("--api-keys", "be a file with a key in each line", f"{path} without one", "add one"))
    keys += [key.strip() for key in os.environ.get(VARIABLE, "").split(",") if key.strip()]
    for key in keys:
        if len(key) < LEAST_KEY or not key.isascii() or not key.isprintable():
            actual = f"one of {len(key)} characters"
            remedy = 'make one with python -c "import secrets; print(secrets.token_urlsafe())"'
            raise InputError(sentence("an API key", f"have {LEAST_KEY} printable ASCII characters", actual, remedy))
    return tuple(keys)


def check_keys(keys: Sequence[str], host: str) -> None:
    """Raise InputError if a server on a host other than this machine's own would need no key."""
    if not keys and not _is_loopback(host):
        remedy = f"add --api-keys FILE, set {VARIABLE}, or leave --host out"
        raise InputError(sentence("--host", "be 127.0.0.1 without API keys", host, remedy))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Rate:
    """At most ``limit`` requests a second of each client on average, and twice as many at once.

    clock: returns the time in seconds.
    """

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by client: the time, and what is left
        self._lock = threading.Lock()

    def wait(self, client: str) -> float:
        """Count a request of a client; return 0, or the seconds after which it may send the next one."""
        with self._lock:
            now = self._clock()
            before, left = self._spent.pop(client, (now, 2 * self._limit))
            left = min(2 * self._limit, left + (now - before) * self._limit)
            allowed = left >= 1
            self._spent[client] = now, left - allowed
            if len(self._spent) > _CLIENTS:
                self._spent.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._limit


class Access:
    """ASGI middleware that refuses requests without a key, and those of a client that sends too many.

    Args:
        keys: a client needs one of them; none opens the server to everyone who reaches it.
        rate: of each client.
        respond: returns the response to a refused request.
    """

    def __init__(
        self, app: ASGIApp, keys: Iterable[str], rate: Rate, respond: Callable[[MobileSamError], Response]
    ) -> None:
        self._app, self._rate, self._respond = app, rate, respond
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            client = self._client(scope)
            if wait := self._rate.wait(client):
                text = "The client sends too many requests. Wait, and send fewer a second."
                raise RefusedError(429, text, retry_after=math.ceil(wait))
        except MobileSamError as error:
            await self._respond(error)(scope, receive, send)
            return
        scope[CLIENT] = client  # in place, so that outer middleware sees the route that is added later
        await self._app(scope, receive, send)

    def _client(self, scope: Scope) -> str:
        """Return the name of the client of a request: its key and its address.

        Raises:
            RefusedError: it has none of the keys.
        """
        headers = Headers(scope=scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        other = headers.get("x-api-key") or headers.get("token", "")  # Token is X-AnyLabeling's
        given = token.strip() if scheme.lower() == "bearer" else other
        digest = hashlib.sha256(given.encode("latin-1", "replace")).digest()
        matches = [hmac.compare_digest(digest, each) for each in self._digests]  # all of them, whichever matches
        if self._digests and not any(matches):
            remedy = "send it as Authorization: Bearer KEY, or as X-API-Key"
            raise RefusedError(401, sentence("the API key", "be one of this server", "another or none", remedy))
        address = (scope.get("client") or ("", 0))[0]
        return f"{digest.hex()[:16] if self._digests else ''}@{address}"
