"""A folder of ``mobilesam site``, as a static host serves it, and a page of it in Chromium."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}

# Results as values that Playwright passes on; masks as run lengths along the rows.
_HELPERS = """
window.runs = (mask) => {
  const lengths = [];
  let [value, length] = [0, 0];
  for (const pixel of mask) {
    if (pixel === value) length++;
    else [value, length] = [pixel, (lengths.push(length), 1)];
  }
  return [...lengths, length];
};
window.base64 = (array) => {
  let text = "";
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
};
window.plain = ({ masks, lowResLogits, ...rest }) => (
  { ...rest, masks: masks.map(runs), logits: lowResLogits.map(base64) }
);
window.pixelsOf = async (address) => {
  const response = await fetch(address);
  return createImageBitmap(await response.blob(), { colorSpaceConversion: "none" });
};
undefined;
"""
_BLANK = b'<!doctype html><title>blank</title><link rel="icon" href="data:,">'


@contextlib.contextmanager
def serving(folder: Path, *, isolated: bool = False) -> Iterator[str]:
    """Serve a folder, and a page ``blank.html``, and yield its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {  # noqa: RUF012 (as in the base class)
            **http.server.SimpleHTTPRequestHandler.extensions_map,
            ".mjs": "text/javascript",
            ".wasm": "application/wasm",
        }

        def do_GET(self) -> None:
            if self.path != "/blank.html":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(_BLANK)

        def end_headers(self) -> None:
            for name, value in ISOLATED.items() if isolated else ():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Ignore that a page was closed during a download."""

    server = Server(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Tab:
    """A page of a site in a browser context of its own.

    requests: the addresses of all requests, those of its worker too.
    """

    def __init__(self, browser: Any, address: str, name: str = "blank.html") -> None:
        self.context = browser.new_context()
        self.page = self.context.new_page()
        self.page.set_default_timeout(300_000)
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(f"{address}{name}")
        self.page.evaluate(_HELPERS)

    def load(self, options: str = "{}", folder: str = "./") -> None:
        """Load the model as ``sam``."""
        self.run(
            f"const {{ MobileSam }} = await import(new URL('{folder}mobilesam.js', location));"
            f" window.sam = await MobileSam.load('{folder}', {options});"
        )

    def run(self, code: str, argument: Any = None) -> Any:
        """Return what a body of an asynchronous function returns."""
        return self.page.evaluate(f"async (given) => {{ {code} }}", argument)

    def error(self, code: str) -> str:
        """Return the name and the message of the error of such a body."""
        return str(
            self.run(f"try {{ {code} }} catch (error) {{ return `${{error.name}}: ${{error.message}}`; }} return '';")
        )

    def close(self) -> None:
        self.context.close()


def mask_of(runs: list[int], hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the mask, (H, W) bool, of run lengths along the rows."""
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(hw)


def logits_of(text: str) -> npt.NDArray[np.float32]:
    """Return (256, 256) logits."""
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(256, 256)


def iou(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Return the IoU of two masks; 1 if both are empty."""
    together = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / together if together else 1.0
