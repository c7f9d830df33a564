"""The server: the page, its routes and the endpoints in one application, by default for this machine only."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilesam.errors import InputError, sentence
from mobilesam.webui.bodies import Bodies, BodyStore
from mobilesam.webui.connections import Connection
from mobilesam.webui.decoders import Decoders
from mobilesam.webui.everything import Everything
from mobilesam.webui.guard import Guard, Hosts, checked_name
from mobilesam.webui.page import build_page, theme
from mobilesam.webui.routes import STATIC, add_routes
from mobilesam.webui.service import Service
from mobilesam.webui.uploads import UploadFolder

# Nothing is loaded from other servers. The script of Gradio needs eval for its templates.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'self'"
)

_GRADIO_FOLDER = "GRADIO_TEMP_DIR"
_STORED_FILES = 10  # of the largest size, in the folder of uploads


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


class _Headers:
    """ASGI middleware that adds security headers to responses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", _POLICY.encode()),
                    (b"referrer-policy", b"same-origin"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)


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


def build_app(
    service: Service,
    everything: Everything,
    decoders: Decoders,
    hosts: Hosts,
    store: BodyStore,
    auth: tuple[str, str] | None = None,
) -> FastAPI:
    """Return the whole application."""
    app = FastAPI(openapi_url=None)
    app.add_middleware(Bodies, store=store)
    app.add_middleware(Guard, hosts=hosts)  # middleware that is added later runs earlier
    app.add_middleware(_Headers)
    add_routes(app, service, everything, decoders, store)
    page = build_page(service, everything, decoders)
    page.queue(max_size=service.limits.waiting, default_concurrency_limit=service.limits.concurrency)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth=auth,
        auth_message="mobilesam",
        theme=theme(),
        css_paths=[STATIC / "page.css"],
        footer_links=[],  # the page itself has the words on scripts
        favicon_path=str(STATIC / "favicon.svg"),
        run_history=False,
        enable_monitoring=False,
        show_error=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        max_file_size=f"{service.limits.max_upload_mb}mb",
    )
    return app


def serve(service: Service, decoders: Decoders, address: Address, on_ready: Callable[[str], object]) -> None:
    """Serve until the process gets SIGINT or SIGTERM; ``on_ready`` is called with the URL.

    Raises:
        InputError: the address cannot be used.
    """
    with _listen(address) as listener, _upload_folder(service.limits.max_upload_mb) as folder:
        host, port = listener.getsockname()[:2]
        everything = Everything(service)
        store = BodyStore(service.limits.max_upload_mb, folder, service.sessions.get)
        app = build_app(service, everything, decoders, Hosts.of(host, address.allowed_hosts), store, address.auth)
        options: dict[str, Any] = {"http": Connection, "ws": "none", "log_level": "warning", "access_log": False}
        config = uvicorn.Config(app, timeout_graceful_shutdown=10, **options)
        url = f"http://{'[' + host + ']' if ':' in host else host}:{port}"

        def stop_work() -> None:
            store.close()
            everything.close()
            service.close(wait=False)

        try:
            _Server(config, lambda: on_ready(url), stop_work).run(sockets=[listener])
        finally:
            stop_work()
            service.close()


@contextlib.contextmanager
def _upload_folder(max_upload_mb: int) -> Iterator[UploadFolder]:
    """Make Gradio store uploads in a folder of this process while the block runs."""
    folder = UploadFolder(_STORED_FILES * max_upload_mb * 1_000_000)
    before = os.environ.get(_GRADIO_FOLDER)
    os.environ[_GRADIO_FOLDER] = str(folder.path)
    try:
        yield folder
    finally:
        folder.close()
        del os.environ[_GRADIO_FOLDER]
        if before is not None:
            os.environ[_GRADIO_FOLDER] = before


def _listen(address: Address) -> socket.socket:
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
