"""The model in a browser tab beside ONNX Runtime in Python: encoding, clicks, everything mode, and memory.

python -m benchmarks.site --site web --out site.json

The folder is one of ``mobilesam site --precision float32``. Each is timed with one thread and, on a cross-origin
isolated page, with two; Python and the tab take turns.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import make_parser, write_result
from benchmarks.process_tree import descendants
from benchmarks.site_server import Tab, serving
from benchmarks.webui_latency import summary
from benchmarks.webui_server import FLAGS, chromium
from mobilesam import SamAutomaticMaskGenerator, SamPredictor, load, samples

PHOTOS = ("cat", "coffee", "astronaut", "rocket")
_ENCODE = """
const bitmap = await pixelsOf(given);
const start = performance.now();
await sam.setImage(bitmap);
return performance.now() - start;
"""
_CLICK = """
const start = performance.now();
await sam.predictOne({ points: [given], labels: [1] });
return performance.now() - start;
"""
_EVERYTHING = """
const start = performance.now();
const { length } = await sam.everything({ pointsPerSide: 16, mode: given });
return [performance.now() - start, length];
"""


def timed(action: Any) -> tuple[float, Any]:
    """Return the milliseconds and the result of an action."""
    start = time.perf_counter()
    result = action()
    return 1000 * (time.perf_counter() - start), result


def renderer_peaks() -> list[int]:
    """Return the peak memory of each renderer of the browser in bytes, the largest first."""
    peaks = []
    for pid, name in descendants(os.getpid()).items():
        if b"--type=renderer" in name:
            status = Path(f"/proc/{pid}/status").read_text()
            peaks.append(1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")))
    return sorted(peaks, reverse=True)


def measure(tab: Tab, threads: int, images: dict[str, Any], clicks: int, modes: list[str]) -> dict[str, Any]:
    """Return the times of the tab and of Python in milliseconds."""
    model = load(backend="onnx", device="cpu", threads=threads)
    predictor = SamPredictor(model)
    start = time.perf_counter()
    tab.load(f"{{ threads: {threads} }}")
    times: dict[str, Any] = {"load": 1000 * (time.perf_counter() - start)}
    random = np.random.default_rng(0)
    encode: dict[str, list[float]] = {"tab": [], "python": []}
    click: dict[str, list[float]] = {"tab": [], "python": []}
    for name, image in images.items():
        for _ in range(3):
            encode["tab"].append(tab.run(_ENCODE, f"{name}.png"))
            encode["python"].append(timed(lambda image=image: predictor.set_image(image))[0])
        points = random.uniform(0.1, 0.9, (clicks + 1, 2)) * image.shape[1::-1]
        for index, point in enumerate(points.tolist()):
            both = tab.run(_CLICK, point), timed(lambda point=point: predictor.predict_one([point], [1]))[0]
            if index:  # the first one prepares the image tokens
                click["tab"].append(both[0])
                click["python"].append(both[1])
    times["encode"] = {who: summary(values) for who, values in encode.items()}
    times["click"] = {who: summary(values) for who, values in click.items()}
    name, image = next(iter(images.items()))
    tab.run(_ENCODE, f"{name}.png")
    for mode in modes:
        milliseconds, masks = tab.run(_EVERYTHING, mode)
        generator = SamAutomaticMaskGenerator(model, points_per_side=16, mode=mode)
        whole, records = timed(lambda generator=generator: generator.generate(image))
        # Python's time includes the encoder.
        python = whole - times["encode"]["python"]["median"]
        times[f"everything, {mode}"] = {"tab": milliseconds, "python": python, "masks": [masks, len(records)]}
    return times


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--site", type=Path, required=True, help="folder of mobilesam site")
    parser.add_argument("--clicks", type=int, default=20, help="of each photo")
    parser.add_argument("--modes", default="exact,balanced,fast", help="of everything mode")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    images = {}
    for name in PHOTOS:
        with Image.open(Path(samples.__file__).with_name(f"{name}.jpg")) as photo:
            images[name] = np.array(photo.convert("RGB"))
    result: dict[str, Any] = {}
    for threads in (1, 2):
        with serving(arguments.site, isolated=threads > 1) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            tab = Tab(browser, address)
            for name, image in images.items():
                Image.fromarray(image).save(arguments.site / f"{name}.png")
            try:
                times = measure(tab, threads, images, arguments.clicks, arguments.modes.split(","))
            finally:
                for name in images:
                    (arguments.site / f"{name}.png").unlink()
            result[f"{threads} threads"] = {**times, "peak_bytes": renderer_peaks()[0]}
            print(threads, {key: value for key, value in result[f"{threads} threads"].items() if key != "values"})
            browser.close()
    write_result(arguments.out, result)


if __name__ == "__main__":
    main()
