"""A tab that decodes its own masks, beside users of the server: its clicks, and the processor time of the server.

python -m benchmarks.webui_hybrid --out benchmarks/results/webui_hybrid.json

Scripted users open images, fetch their embeddings, and wait as long as people who click; their tabs would decode
elsewhere. One real tab clicks. The same users then let the server decode. Server, browser and users share the
processor.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import make_parser, write_result
from benchmarks.page_client import Client
from benchmarks.webui_clients import PREDICTIONS, SAME, SIDE
from benchmarks.webui_latency import MARGIN, SETTLED, STATE, clear, click, summary
from benchmarks.webui_server import FLAGS, Server, chromium
from mobilesam import SamPredictor, load, samples

_RUNS = """async () => {
  const { engine, store: { state: { image, doc } } } = pageOf();
  const [frozen] = await engine.freeze(image, { prompt: doc.prompt, clean: false });
  return frozen.segmentation;
}"""


class User:
    """A client that opens images one after another, with clicks between."""

    def __init__(self, content: bytes, *, decodes: bool) -> None:
        self.content = content
        self.decodes = decodes
        self.images = 0
        self.errors: list[str] = []

    def work(self, url: str, until: float, pause: float) -> None:
        random = np.random.default_rng(len(self.content))
        try:
            client = Client(url)
            while time.monotonic() < until:
                client.hello()
                image = client.open(self.content)["done"]["image"]
                if not self.decodes:
                    headers = {"X-Session": client.token, "X-Image": image["key"]}
                    content = client.request("GET", "/service/embedding", headers=headers).content
                    assert len(content) == 2 * 256 * 64 * 64, content[:200]
                for _ in range(PREDICTIONS):
                    if self.decodes:
                        client.point(*random.integers(SIDE // 10, SIDE - SIDE // 10, 2).tolist())
                    time.sleep(pause)
                self.images += 1
        except Exception as error:  # any error is a result, with which the run fails at the end
            self.errors.append(f"{type(error).__name__}: {error}")


def contents(count: int, folder: Path) -> list[bytes]:
    """Return different images as files."""
    made = []
    for number in range(count):
        name = samples.PHOTOS[number % len(samples.PHOTOS)]
        photo = Image.open(Path(samples.__file__).with_name(name)).convert("RGB").resize((SIDE, SIDE))
        path = folder / f"{number}.png"
        photo.rotate(360 * number / count).save(path)
        made.append(path.read_bytes())
    return made


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def clicks(page: Any, photo: Path, until: float, pause: float) -> tuple[list[float], list[str], int]:
    """Click until a time; return the milliseconds from each click to its mask, its place, and the wrong ones."""
    from pycocotools import mask as coco

    with Image.open(photo) as opened:
        image = np.array(opened.convert("RGB"))
    predictor = SamPredictor(load(backend="onnx", device="cpu", threads=1))
    predictor.set_image(image)
    random, times, places, masks = np.random.default_rng(0), [], [], []
    page.set_input_files('[data-part="file"]', photo)
    page.wait_for_function(f"() => {STATE}.image && {SETTLED}")
    page.wait_for_timeout(3000)
    while time.monotonic() < until:
        times.append(click(page, *random.uniform(MARGIN, 1 - MARGIN, 2).tolist()))
        places.append(page.evaluate(f"() => {STATE}.decoded.prediction.place ?? 'server'"))
        point = page.evaluate(f"() => {STATE}.doc.prompt.points[0].slice(0, 2)")
        masks.append((point, page.evaluate(_RUNS)))
        clear(page)
        page.wait_for_timeout(1000 * pause)
    wrong = 0
    for point, segmentation in masks:
        expected = coco.encode(np.asfortranarray(predictor.predict_one([point], [1]).masks[0].astype(np.uint8)))
        wrong += float(coco.iou([segmentation], [expected], [0])[0, 0]) < SAME
    return times, places, wrong


def measure(arguments: argparse.Namespace, *, in_tab: bool) -> dict[str, Any]:
    """Return the times of the tab's clicks, and the processor time of the server for each image of a user."""
    from playwright.sync_api import sync_playwright

    server = Server("--backend", "onnx", "--decode", "tab" if in_tab else "server")
    try:
        with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
            users = [User(each, decodes=not in_tab) for each in contents(arguments.users, Path(folder))]
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.add_init_script("window.pageOf = () => document.querySelector('.mobilesam').page;")
            page.goto(server.url)
            page.wait_for_selector('.mobilesam[data-state="empty"]')
            photo = Path(samples.__file__).with_name("coffee.jpg")
            until = time.monotonic() + arguments.seconds
            terms = (server.url, until, arguments.pause)
            threads = [threading.Thread(target=each.work, args=terms) for each in users]
            before = cpu_seconds(server.process.pid)
            for thread in threads:
                thread.start()
            times, places, wrong = clicks(page, photo, until, arguments.pause)
            for thread in threads:
                thread.join()
            used = cpu_seconds(server.process.pid) - before
            browser.close()
    finally:
        server.stop()
    images = sum(each.images for each in users)
    return {
        "click_ms": summary(times),
        "decoded_in": {place: places.count(place) for place in set(places)},
        "wrong": wrong,
        "errors": [error for each in users for error in each.errors],
        "images": images,
        "server_cpu_seconds_an_image": round(used / max(1, images), 3),
    }


def main() -> None:
    """Measure both, print them, and write the JSON."""
    parser = make_parser(__doc__)
    parser.add_argument("--users", type=int, default=19)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds after each click")
    arguments = parser.parse_args()
    result = {"users": arguments.users, "seconds": arguments.seconds, "pause_seconds": arguments.pause}
    result |= {name: measure(arguments, in_tab=name == "tab") for name in ("tab", "server")}
    for name in ("tab", "server"):
        print(name, {**result[name], "click_ms": {k: v for k, v in result[name]["click_ms"].items() if k != "values"}})
    write_result(arguments.out, result)
    if any(result[name]["errors"] or result[name]["wrong"] for name in ("tab", "server")):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
