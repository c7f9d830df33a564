"""A plain loop over images with SamPredictor, to compare ``mobilesam batch`` with.

python -m benchmarks.plain_loop IMAGES PROMPTS OUT THREADS
"""

from __future__ import annotations

import sys
from pathlib import Path

import mobilesam
from mobilesam.errors import InputError
from mobilesam.formats import MaskedImage, write_coco, write_mask
from mobilesam.formats.masked_image import read_record
from mobilesam.image.read import read_image
from mobilesam.masks import rle
from mobilesam.prompts.file import read_prompts


def main() -> None:
    """Segment every image; write a PNG for each mask and COCO JSON for all."""
    folder, prompts, out = map(Path, sys.argv[1:4])
    predictor = mobilesam.SamPredictor(mobilesam.load(threads=int(sys.argv[4])))
    objects, images, bad = read_prompts(prompts), [], 0
    for path in sorted(folder.iterdir()):
        try:
            image = read_image(path)
        except InputError:
            bad += 1
            continue
        predictor.set_image(image)
        hw, records = (image.shape[0], image.shape[1]), []
        for number, prompt in enumerate(objects.for_image(path), start=1):
            result = predictor.predict_one(**prompt.arguments())
            write_mask(out / f"{path.stem}-masks" / f"{number:03}.png", result.masks[0])
            iou = float(result.iou_predictions[0])
            records.append(read_record(rle.boundaries_of(result.masks[0]), hw, predicted_iou=iou))
        images.append(MaskedImage(path.name, hw, records))
    write_coco(out / "coco.json", images)
    print(f"{len(images)} images done, {bad} bad")


if __name__ == "__main__":
    main()
