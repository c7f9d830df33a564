"""The server: the page, its routes and the endpoints in one application, on this machine only unless told otherwise."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilesam.errors import InputError, sentence
from mobilesam.webui.everything import Everything
from mobilesam.webui.page import build_page, theme
from mobilesam.webui.routes import STATIC, add_routes
from mobilesam.webui.studio import Studio

# Nothing is loaded from elsewhere, whatever Gradio's page asks for; its script needs eval for templates.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'self'"
)


@dataclass(frozen=True)
class Address:
    """Where to listen, and who may enter; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 7860
    auth: tuple[str, str] | None = None


class _Headers:
    """Adds the headers that keep the page to itself."""

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
    """Ends at Ctrl-C and SIGTERM with exit code 0; uvicorn's own raises the signal once more at the end.

    ``on_ready`` is called when it answers, ``on_exit`` before requests that still run are waited for.
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


def build_app(studio: Studio, everything: Everything, auth: tuple[str, str] | None = None) -> FastAPI:
    """Return the whole application."""
    app = FastAPI(openapi_url=None)
    app.add_middleware(_Headers)
    add_routes(app, studio, everything)
    page = build_page(studio, everything)
    page.queue(max_size=studio.limits.waiting, default_concurrency_limit=studio.limits.concurrency)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth=auth,
        auth_message="mobilesam",
        theme=theme(),
        css_paths=[STATIC / "studio.css"],
        footer_links=["api"],
        run_history=False,
        enable_monitoring=False,
        show_error=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        max_file_size=f"{studio.limits.max_upload_mb}mb",
    )
    return app


def serve(studio: Studio, address: Address, on_ready: Callable[[str], object]) -> None:
    """Serve until the process is told to stop; ``on_ready`` is given the URL.

    Raises:
        InputError: the address cannot be used.
    """
    with _listen(address) as listener:
        host, port = listener.getsockname()[:2]
        everything = Everything(studio)
        app = build_app(studio, everything, address.auth)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
        url = f"http://{'[' + host + ']' if ':' in host else host}:{port}"

        def end_work() -> None:
            everything.close()
            studio.close(wait=False)

        try:
            _Server(config, lambda: on_ready(url), end_work).run(sockets=[listener])
        finally:
            end_work()
            studio.close()


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except (OSError, OverflowError) as error:
        listener.close()
        actual = f"{address.host}:{address.port} ({getattr(error, 'strerror', None) or error})"
        raise InputError(
            sentence("--host and --port", "be free on this machine", actual, "choose another port")
        ) from error
    return listener
