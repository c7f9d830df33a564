"""A folder opened in Chromium, for programs that run in a browser; needs playwright, and CHROMIUM=/usr/bin/chromium."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".worker": "text/javascript",
    }

    def log_message(self, *args: object) -> None:
        """Do nothing."""


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Page]:
    """Serve a folder to this machine only, and yield its index.html in a browser."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM"), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(300_000)
        page.on("console", lambda message: print(f"  {message.type}: {message.text}"))
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        yield page
        browser.close()
    server.shutdown()
