"""The masks of a tab against Python's: a point and a box on each of many images, and everything mode on three photos.

python -m benchmarks.site_parity --site web --images photos --annotations instances.json --out parity.json

Python and the tab get the same pixels, from PNG files, unless ``--jpeg`` lets the browser decode the JPEG files. The
folder is one of ``mobilesam site``; with ``--precision weights`` as here, Python has float32, so that the differences
are those of the quantization. The point is the inmost pixel of the first object of an image, the box is its box.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from benchmarks.common import make_parser, write_result
from benchmarks.site_server import Tab, iou, mask_of, serving
from benchmarks.webui_server import FLAGS, chromium
from mobilesam import SamAutomaticMaskGenerator, SamPredictor, load, samples
from mobilesam.formats.segmentation import decode_segmentation
from mobilesam.masks import rle

EVERYTHING = ("cat", "coffee", "rocket")
_PREDICT = "return plain(await sam.predict(given))"
_SET = "await sam.setImage(await pixelsOf(given))"


def objects_of(annotations: Path, count: int) -> list[dict[str, Any]]:
    """Return images spread over a COCO file, with a point and a box of the first object of each."""
    content = json.loads(annotations.read_text(encoding="utf-8"))
    first = {each["image_id"]: each for each in reversed(content["annotations"])}
    images = [image for image in content["images"] if image["id"] in first]
    chosen = []
    for image in images[:: max(1, len(images) // count)][:count]:
        annotation, hw = first[image["id"]], (image["height"], image["width"])
        mask = decode_segmentation(annotation["segmentation"], hw)
        y, x = np.unravel_index(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1].argmax(), hw)
        left, top, width, height = annotation["bbox"]
        box = [left, top, left + width, top + height]
        chosen.append({"file": image["file_name"], "point": [int(x), int(y)], "box": box})
    return chosen


def compare(tab: Tab, predictor: SamPredictor, objects: list[dict[str, Any]], images: Path, jpeg: bool) -> Any:
    """Return the IoU of each mask with Python's, and the largest difference of the predicted IoUs of each prompt."""
    results = []
    for each in objects:
        name = each["file"] if jpeg else f"{Path(each['file']).stem}.png"
        with Image.open(images / each["file"]) as photo:
            image = np.array(photo.convert("RGB"))
        predictor.set_image(image)
        tab.run(_SET, f"images/{name}")
        for kind in ("point", "box"):
            point = {"points": [each["point"]], "labels": [1]} if kind == "point" else {"box": each["box"]}
            actual = tab.run(_PREDICT, point)
            coords, labels = ([each["point"]], [1]) if kind == "point" else (None, None)
            expected = predictor.predict(coords, labels, each["box"] if kind == "box" else None)
            masks = [mask_of(runs, image.shape[:2]) for runs in actual["masks"]]
            pairs = zip(masks, expected.masks, strict=True)
            difference = np.abs(np.array(actual["iouPredictions"]) - expected.iou_predictions).max()
            ious = [iou(one, other) for one, other in pairs]
            results.append({"file": each["file"], "prompt": kind, "ious": ious, "iou_prediction": float(difference)})
    return results


def compare_everything(tab: Tab, model: Any) -> list[dict[str, Any]]:
    """Return the number of masks of both, and the lowest IoU of their pairs in order, for each photo."""
    results = []
    for name in EVERYTHING:
        with Image.open(Path(samples.__file__).with_name(f"{name}.jpg")) as photo:
            image = np.array(photo.convert("RGB"))
        generator = SamAutomaticMaskGenerator(model, points_per_side=16, output_mode="uncompressed_rle")
        expected = [rle.boundaries_of_rle(record["segmentation"]) for record in generator.generate(image)]
        tab.run(_SET, f"images/{name}.png")
        records = tab.run("return [...await sam.everything({ pointsPerSide: 16 })]")
        actual = [rle.boundaries_of_rle(record["segmentation"]) for record in records]
        best = [max((rle.iou(one, other) for other in actual), default=0.0) for one in expected]
        results.append({"photo": name, "masks": [len(actual), len(expected)], "least_iou": min(best)})
    return results


def main() -> None:
    """Compare, print a summary, and write the JSON."""
    parser = make_parser(__doc__)
    parser.add_argument("--site", type=Path, required=True, help="folder of mobilesam site")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True, help="COCO JSON")
    parser.add_argument("--model", help="of Python; by default MobileSAM in float32")
    parser.add_argument("--count", type=int, default=20, help="of images")
    parser.add_argument("--jpeg", action="store_true", help="let the browser decode the files")
    parser.add_argument("--everything", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    objects = objects_of(arguments.annotations, arguments.count)
    model = load(arguments.model, backend="onnx", device="cpu")
    with tempfile.TemporaryDirectory() as temporary:
        site = Path(shutil.copytree(arguments.site, Path(temporary) / "site"))
        (site / "images").mkdir()
        for each in objects:
            shutil.copy(arguments.images / each["file"], site / "images")
            with Image.open(arguments.images / each["file"]) as photo:
                photo.convert("RGB").save(site / "images" / f"{Path(each['file']).stem}.png")
        for name in EVERYTHING:
            with Image.open(Path(samples.__file__).with_name(f"{name}.jpg")) as photo:
                photo.convert("RGB").save(site / "images" / f"{name}.png")
        with serving(site, isolated=True) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            tab = Tab(browser, address)
            tab.load()
            prompts = compare(tab, SamPredictor(model), objects, arguments.images, arguments.jpeg)
            everything = compare_everything(tab, model) if arguments.everything else []
            browser.close()
    ious = [value for each in prompts for value in each["ious"]]
    summary = {
        "prompts": len(prompts),
        "least_iou": min(ious),
        "median_iou": float(np.median(ious)),
        "largest_difference_of_predicted_iou": max(each["iou_prediction"] for each in prompts),
    }
    print(summary, everything)
    write_result(arguments.out, {"summary": summary, "everything": everything, "results": prompts})


if __name__ == "__main__":
    main()
