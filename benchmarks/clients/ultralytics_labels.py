"""ultralytics 8.4, run alone and not a dependency: its reader loads the YOLO files that mobilesam writes.

In an environment with ultralytics (whose license is AGPL-3.0) and pycocotools:

    mobilesam batch PHOTOS --everything --mode fast --format yolo,coco --out FOLDER
    python benchmarks/clients/ultralytics_labels.py FOLDER PHOTOS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from ultralytics.data.dataset import YOLODataset


def main() -> None:
    """Print the objects that it reads from each image, and the IoU of their polygons with the masks in coco.json."""
    from pycocotools import mask as coco_mask

    folder, photos = (Path(argument) for argument in sys.argv[1:])
    document = json.loads((folder / "coco.json").read_text())
    written: dict[str, list[dict]] = {Path(image["file_name"]).stem: [] for image in document["images"]}
    by_id = {image["id"]: Path(image["file_name"]).stem for image in document["images"]}
    for annotation in document["annotations"]:
        written[by_id[annotation["image_id"]]].append(annotation)
    for name in written:
        (photos / f"{name}.txt").unlink(missing_ok=True)
        (photos / f"{name}.txt").write_bytes(next(folder.rglob(f"{name}.txt")).read_bytes())
    dataset = YOLODataset(
        img_path=str(photos), data={"names": {0: "object"}, "channels": 3}, task="segment", augment=False
    )
    for label in dataset.labels:
        stem, (height, width) = Path(label["im_file"]).stem, label["shape"]
        ious = []
        for points, annotation in zip(label["segments"], written[stem], strict=True):
            drawn = np.zeros((height, width), np.uint8)
            cv2.fillPoly(drawn, [np.rint(points * [width, height] - 0.5).astype(np.int32)], 1)
            mask = coco_mask.decode(annotation["segmentation"]).astype(bool)
            ious.append((drawn.astype(bool) & mask).sum() / (drawn.astype(bool) | mask).sum())
        print(f"{stem}: {len(ious)} objects, median IoU {np.median(ious):.3f}, lowest {min(ious):.3f}")


if __name__ == "__main__":
    main()
