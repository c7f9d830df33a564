"""Many images made from a few by flips and crops, with prompts, and broken ones among them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

BROKEN = {
    "truncated": lambda sound: sound[: len(sound) // 3],
    "empty": lambda sound: b"",
    "text": lambda sound: b"this is no image\n",
    "headless": lambda sound: sound[64:],
    "header": lambda sound: sound[:20],
}


def add_photos(parser: argparse.ArgumentParser, count: int, bad: int) -> None:
    """Add the options of the images, with their defaults."""
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--count", type=int, default=count, help="images made from them")
    parser.add_argument("--bad", type=int, default=bad, help="broken images added")


def make_photos(photos: Path, folder: Path, count: int, bad: int, megapixels: float | None = None) -> list[str]:
    """Fill a folder with JPEG files and ``prompts.json``, a box and a point each; return the names of the broken ones.

    The photos are used again and again, each time flipped and cropped in another way, and enlarged to ``megapixels``.
    """
    sources = sorted(path for path in photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not sources:
        raise SystemExit(f"--photos must contain JPEG or PNG files, got none in {photos}")
    folder.mkdir(parents=True)
    prompts: dict[str, Any] = {}
    for number in range(count):
        turn = number // len(sources)
        with Image.open(sources[number % len(sources)]) as photo:
            photo = photo.convert("RGB")
        photo = ImageOps.mirror(photo) if turn % 2 else photo
        photo = ImageOps.flip(photo) if turn // 2 % 2 else photo
        cut = (turn // 4 % 5) / 40
        width, height = photo.size
        photo = photo.crop((round(cut * width), round(cut * height / 2), width, height))
        if megapixels:
            factor = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
            photo = photo.resize((round(photo.width * factor), round(photo.height * factor)))
        name = f"{number:04}.jpg"
        photo.save(folder / name, quality=90)
        width, height = photo.size
        box = [width // 5, height // 5, width * 4 // 5, height * 4 // 5]
        prompts[name] = [{"box": box}, {"points": [[width // 2, height // 2]]}]
    broken = [f"bad-{number:02}.jpg" for number in range(bad)]
    sound = (folder / "0000.jpg").read_bytes()
    for number, name in enumerate(broken):
        (folder / name).write_bytes(list(BROKEN.values())[number % len(BROKEN)](sound))
        prompts[name] = [{"points": [[1, 1]]}]
    (folder.parent / "prompts.json").write_text(json.dumps({"version": 1, "images": prompts}))
    return broken
