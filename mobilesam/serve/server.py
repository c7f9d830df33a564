"""The HTTP server: its address, and its end by signals."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from mobilesam.errors import InputError, sentence
from mobilesam.serve.connections import Connection
from mobilesam.serve.guard import checked_name

_GRACE = 10  # seconds in which running requests may end


@dataclass(frozen=True)
class Address:
    """The address of the server, and who may use it.

    port: 0 takes a free one. auth: name and password of the login. allowed_hosts: names by which browsers may reach the
    server, besides its address.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    auth: tuple[str, str] | None = None
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            InputError: the host is empty, which would open the page to all machines, or an allowed host is not a host
                name.
        """
        if not self.host or any(character.isspace() for character in self.host):
            remedy = "write 127.0.0.1 for this machine only, or 0.0.0.0 to open the page to others"
            raise InputError(sentence("--host", "be an address", repr(self.host), remedy))
        for name in self.allowed_hosts:
            checked_name(name)


class _Server(uvicorn.Server):
    """A server that ends at Ctrl-C and SIGTERM with exit code 0; that of uvicorn raises the signal again at the end.

    ``on_ready`` is called when the server accepts requests, ``on_exit`` before it waits for running requests.
    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], object], on_exit: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_exit = on_exit

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_exit()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(
    app: ASGIApp, listener: socket.socket, on_ready: Callable[[str], object], on_exit: Callable[[], object]
) -> None:
    """Serve an application until the process gets SIGINT or SIGTERM.

    Args:
        listener: from :func:`listen`.
        on_ready: called with the URL when the server accepts requests.
        on_exit: called before it waits for running requests.
    """
    host, port = listener.getsockname()[:2]
    url = f"http://{'[' + host + ']' if ':' in host else host}:{port}"
    options: dict[str, Any] = {"http": Connection, "ws": "none", "log_level": "warning", "access_log": False}
    config = uvicorn.Config(app, timeout_graceful_shutdown=_GRACE, **options)
    _Server(config, lambda: on_ready(url), on_exit).run(sockets=[listener])


def listen(address: Address) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        InputError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except (OSError, OverflowError, ValueError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, socket.gaierror | ValueError) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
            actual, remedy = f"{address.host[:100]!r} ({reason})", "write 127.0.0.1, or 0.0.0.0 for all of them"
            raise InputError(sentence("--host", "be an address of this machine", actual, remedy)) from error
        actual, remedy = f"{address.host}:{address.port} ({reason})", "choose another port"
        raise InputError(sentence("--host and --port", "be free on this machine", actual, remedy)) from error
    return listener
