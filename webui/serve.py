"""The server: the page, its routes and the endpoints in one application, by default for this machine only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import gradio as gr
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilesam.serve.bodies import Bodies, BodyStore
from mobilesam.serve.guard import Guard, Hosts
from mobilesam.serve.server import Address, listen, run
from mobilesam.webui.decoders import Decoders
from mobilesam.webui.everything import Everything
from mobilesam.webui.page import build_page, theme
from mobilesam.webui.page_bodies import PageRules
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


def build_app(
    service: Service,
    everything: Everything,
    decoders: Decoders,
    hosts: Hosts,
    store: BodyStore,
    folder: UploadFolder,
    auth: tuple[str, str] | None = None,
) -> FastAPI:
    """Return the whole application."""
    app = FastAPI(openapi_url=None)
    app.add_middleware(Bodies, store=store)
    app.add_middleware(Guard, hosts=hosts)  # middleware that is added later runs earlier
    app.add_middleware(_Headers)
    add_routes(app, service, everything, decoders, store, folder)
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
    with listen(address) as listener, _upload_folder(service.limits.max_upload_mb) as folder:
        everything = Everything(service)
        store = BodyStore(PageRules(service.limits.max_upload_mb, folder, service.sessions))
        hosts = Hosts.of(listener.getsockname()[0], address.allowed_hosts)
        app = build_app(service, everything, decoders, hosts, store, folder, address.auth)

        def stop_work() -> None:
            store.close()
            everything.close()
            service.close(wait=False)

        try:
            run(app, listener, on_ready, stop_work)
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
