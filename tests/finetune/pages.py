"""Drawn pages of text, and the box around each word as its mask: images that the published weights do not know.

One click on a word gives the mask of a letter with them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HEIGHT, WIDTH = 300, 480
VOCABULARY = (
    "choose",
    "a",
    "model",
    "and",
    "segment",
    "every",
    "object",
    "with",
    "points",
    "or",
    "boxes",
    "then",
    "save",
)


def draw_page(random: np.random.Generator) -> tuple[np.ndarray, list[list[int]]]:
    """Return a page, (H, W, 3) uint8, and x1 y1 x2 y2 of its words."""
    light = 160 + 60 * random.random() + np.linspace(-40, 40, WIDTH) * random.choice([-1, 1])
    page, boxes, y = light + random.normal(0, 6, (HEIGHT, WIDTH)), [], 15
    while y < HEIGHT - 35:
        size, x = int(random.integers(14, 34)), 12
        font = ImageFont.load_default(size)
        while True:
            canvas = Image.new("L", (WIDTH, HEIGHT))
            ImageDraw.Draw(canvas).text((x, y), str(random.choice(VOCABULARY)), 255, font)
            left, top, right, bottom = canvas.getbbox() or (0, 0, WIDTH, HEIGHT)
            if right > WIDTH - 10:
                break
            ink = np.asarray(canvas) / 255
            page = page * (1 - ink) + 30 * ink
            boxes.append([left - 2, top - 2, right + 2, bottom + 2])
            x = right + size // 2
        y += int(1.6 * size)
    return np.repeat(page.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), boxes


def write_pages(folder: Path, count: int, seed: int, most: int = 100) -> None:
    """Write pages and instances.json, with the first ``most`` of each, into a new folder."""
    folder.mkdir()
    random, images, annotations = np.random.default_rng(seed), [], []
    for number in range(count):
        page, boxes = draw_page(random)
        Image.fromarray(page).save(folder / f"page{number}.png")
        images.append({"id": number, "file_name": f"page{number}.png", "height": HEIGHT, "width": WIDTH})
        for x1, y1, x2, y2 in boxes[:most]:
            corners = [x1, y1, x2, y1, x2, y2, x1, y2]
            annotations.append({"id": len(annotations), "image_id": number, "segmentation": [corners]})
    content = {"images": images, "annotations": annotations, "categories": []}
    (folder / "instances.json").write_text(json.dumps(content))
