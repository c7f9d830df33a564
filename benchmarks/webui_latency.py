"""The page in a real browser: from a click to its painted mask, and from the address to a page that can be used.

python -m benchmarks.webui_latency --out benchmarks/results/webui_latency.json

The server runs as ``mobilesam webui`` does, on loopback, on the same cores as the browser.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

from benchmarks.webui_server import FLAGS, Server, chromium
from mobilesam.bench import describe_environment

SIZES = ((640, 480), (4000, 3000))
MARGIN = 0.1  # of each side of the image, without clicks
STATE = "pageOf().store.state"
SETTLED = (
    f"{STATE}.phase === 'ready' && {STATE} === pageOf().store.seen && !{STATE}.decoding && !pageOf().painter.frame"
)


def summary(values: list[float]) -> dict[str, Any]:
    """Return the median, the 95th percentile, the maximum and the values."""
    median, p95 = np.percentile(values, [50, 95]).round(3).tolist()
    return {"median": median, "p95": p95, "max": max(values), "values": values}


def load(browser: Any, url: str) -> float:
    """Return the seconds from an empty tab, with an empty cache, to a page that accepts an image."""
    context = browser.new_context()
    page = context.new_page()
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector('.mobilesam[data-state="empty"]')
    seconds = time.perf_counter() - start
    context.close()
    return round(seconds, 3)


def click(page: Any, across: float, down: float) -> float:
    """Click at shares of the width and height of the image, and return the milliseconds to the painted mask."""
    place = page.evaluate(
        "([x, y]) => { const { painter: { fit: f, canvas }, store } = pageOf(), { image } = store.state;"
        " const b = canvas.getBoundingClientRect();"
        " return [b.left + f.left + x * image.width * f.scale, b.top + f.top + y * image.height * f.scale]; }",
        [across, down],
    )
    page.evaluate("() => { delete pageOf().root.dataset.paintedMs; }")
    page.mouse.click(*place)
    page.wait_for_function("() => pageOf().root.dataset.paintedMs !== undefined")
    return float(page.evaluate("() => pageOf().root.dataset.paintedMs"))


def clear(page: Any) -> None:
    """Remove the marks and wait for it."""
    page.keyboard.press("Escape")
    page.wait_for_function(f"() => !{STATE}.doc.prompt.points.length && {SETTLED}")


def clicks(browser: Any, url: str, photo: Path, count: int) -> dict[str, Any]:
    """Open a photo, click it ``count`` times with an empty prompt, and return the times in milliseconds."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.add_init_script("window.pageOf = () => document.querySelector('.mobilesam').page;")
    page.goto(url)
    page.wait_for_selector('.mobilesam[data-state="empty"]')
    start = time.perf_counter()
    page.set_input_files('[data-part="file"]', photo)
    page.wait_for_function(f"() => {STATE}.image && {SETTLED}")
    opened = time.perf_counter() - start
    random, times, decode = np.random.default_rng(0), [], []
    for _ in range(count):
        across, down = random.uniform(MARGIN, 1 - MARGIN, 2)
        times.append(click(page, across, down))
        decode.append(float(page.evaluate(f"() => {STATE}.times.decode")))
        clear(page)
    encode = page.evaluate(f"() => {STATE}.times.encode")
    context.close()
    return {
        "seconds_to_open": round(opened, 3),
        "encode_ms": encode,
        "click_to_mask_ms": summary(times),
        "decode_ms": summary(decode),
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start the server and the browser, and return all times."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        raise SystemExit("Chromium is not installed: apt-get install chromium")
    threads = ["--threads", str(arguments.threads)] if arguments.threads else []
    server = Server("--backend", "onnx", "--decode", "server", *threads)
    try:
        with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            loads = [load(browser, server.url) for _ in range(arguments.loads)]
            images = []
            for width, height in SIZES:
                photo = Path(folder) / f"coffee-{width}.jpg"
                Image.fromarray(skimage.data.coffee()).resize((width, height)).save(photo, quality=92)
                measured = clicks(browser, server.url, photo, arguments.clicks)
                images.append({"width": width, "height": height} | measured)
                print(width, height, {k: measured["click_to_mask_ms"][k] for k in ("median", "p95", "max")}, flush=True)
            version = browser.version
            browser.close()
    finally:
        server.stop()
    return {
        "environment": describe_environment() | {"browser": f"Chromium {version}"},
        "threads": arguments.threads,
        "page_load_seconds": summary(loads),
        "images": images,
    }


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clicks", type=int, default=60, help="on each image")
    parser.add_argument("--loads", type=int, default=5, help="of the page")
    parser.add_argument("--threads", type=int, help="of the server's model")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    document = measure(arguments)
    arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
