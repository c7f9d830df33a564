"""Take the screenshot of the page in the documentation, in Chromium: ``python docs/page_figure.py``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import mobilesam
from benchmarks.webui_server import FLAGS, Server, chromium

ASSETS = Path(__file__).parent / "assets"
PHOTO = Path(mobilesam.__file__).parent / "samples" / "coffee.jpg"
OBJECTS = {"spoon": (363, 286), "coffee": (300, 160), "saucer": (120, 320)}
WIDTH = 1000  # pixels of the screenshot


def click(page: Any, x: int, y: int) -> None:
    """Click a pixel of the image and wait for its mask."""
    place = (
        "([x, y]) => { const { painter: { fit, canvas } } = document.querySelector('.mobilesam').page,"
        " box = canvas.getBoundingClientRect();"
        " return [box.left + fit.left + x * fit.scale, box.top + fit.top + y * fit.scale]; }"
    )
    page.mouse.click(*page.evaluate(place, [x, y]))
    page.wait_for_selector('[data-candidate][aria-checked="true"]')
    page.wait_for_timeout(300)


def main() -> None:
    server = Server("--backend", "onnx")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(server.url)
        page.wait_for_selector('.mobilesam[data-state="empty"]')
        page.set_input_files('[data-part="file"]', PHOTO)
        page.wait_for_selector('.mobilesam[data-state="ready"]')
        page.check('[data-part="clean"]')
        for label, place in OBJECTS.items():
            click(page, *place)
            if label == "saucer":
                break
            page.keyboard.press("k")
            page.wait_for_selector("[data-object] input:focus")
            page.keyboard.type(label)
            page.keyboard.press("Enter")
        page.mouse.move(5, 5)
        page.wait_for_timeout(300)
        screenshot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    server.stop()
    size = (WIDTH, round(screenshot.height * WIDTH / screenshot.width))
    screenshot.resize(size, Image.Resampling.LANCZOS).save(ASSETS / "page.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
