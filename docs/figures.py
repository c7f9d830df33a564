"""Draw the figures of the README and of the guides from the sample photos: ``python docs/figures.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

import mobilesam
from mobilesam.image import read_image
from mobilesam.visualize import overlay

ASSETS = Path(__file__).parent / "assets"
PHOTOS = Path(mobilesam.__file__).parent / "samples"
GAP = 12  # pixels between tiles, transparent, so that they stand on light and on dark ground


def tiles(name: str, images: Sequence[Any], height: int = 300) -> None:
    """Write images side by side, at one height, as a WebP with transparent gaps."""
    scaled = [Image.fromarray(image) for image in images]
    scaled = [
        each.resize((round(each.width * height / each.height), height), Image.Resampling.LANCZOS) for each in scaled
    ]
    sheet = Image.new("RGBA", (sum(each.width + GAP for each in scaled) - GAP, height))
    left = 0
    for each in scaled:
        sheet.paste(each, (left, 0))
        left += each.width + GAP
    sheet.save(ASSETS / name, quality=82, method=6)


def main() -> None:
    model = mobilesam.load(backend="onnx")
    predictor = mobilesam.SamPredictor(model)

    def shown(photo: str, points: Sequence[Sequence[int]] = (), boxes: Sequence[Sequence[int]] = ()) -> Any:
        """Return a photo with its prompts, x y label for a point, and its mask."""
        image = read_image(PHOTOS / photo)
        predictor.set_image(image)
        coords, labels = [list(point[:2]) for point in points], [point[2] for point in points]
        if points:
            masks = predictor.predict_one(point_coords=coords, point_labels=labels, box=boxes[0] if boxes else None)[0]
        else:
            masks = predictor.predict(box=boxes[0], multimask_output=False)[0]
        return overlay(image, masks=masks, point_coords=coords, point_labels=labels, boxes=boxes)

    def everything(photo: str, **settings: Any) -> Any:
        records = mobilesam.SamAutomaticMaskGenerator(model, mode="balanced", **settings).generate(PHOTOS / photo)
        return overlay(read_image(PHOTOS / photo), masks=[record["segmentation"] for record in records])

    coffee = [75, 10, 482, 395]
    tiles(
        "prompts.webp",
        [shown("cat.jpg", [[230, 130, 1]]), shown("coffee.jpg", boxes=[coffee]), everything("rocket.jpg")],
    )
    image = read_image(PHOTOS / "coffee.jpg")
    predictor.set_image(image)
    click = {"point_coords": [[290, 155]], "point_labels": [1]}
    masks = predictor.predict(**click)[0]
    tiles("candidate-masks.webp", [overlay(image, masks=[mask], **click) for mask in masks], 220)
    clicks = [[290, 155, 1], [290, 230, 1], [130, 300, 1]]
    tiles("more-points.webp", [shown("coffee.jpg", clicks[:count]) for count in (1, 2, 3)], 220)
    tiles("everything.webp", [everything("coffee.jpg"), everything("rocket.jpg")])


if __name__ == "__main__":
    main()
