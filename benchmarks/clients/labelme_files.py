"""The files of --format labelme and coco in labelme's own reader and in pycocotools.

    mobilesam batch PHOTOS --everything --mode fast --format labelme,coco --out OUT
    pip install labelme==6.3.1 pycocotools
    QT_QPA_PLATFORM=offscreen python -m benchmarks.clients.labelme_files PHOTOS OUT

The masks of a COCO file are exact. In labelme a mask is one or several polygons.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from labelme._label_file import LabelFile
from labelme.utils import shape_to_mask
from pycocotools.coco import COCO

from benchmarks.clients.pack_cases import iou


def main() -> None:
    """Read all files, and compare the union of labelme's polygons with that of the masks of COCO."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    coco, worst = COCO(str(options.out / "coco.json")), 1.0
    for entry in coco.loadImgs(coco.getImgIds()):
        stem = Path(entry["file_name"]).stem
        file = LabelFile(str(options.out / f"{stem}.json"))
        masks = [coco.annToMask(annotation) for annotation in coco.loadAnns(coco.getAnnIds(entry["id"]))]
        hw = (entry["height"], entry["width"])
        drawn = np.zeros(hw, bool)
        for shape in file.shapes:
            drawn |= shape_to_mask(hw, shape["points"], shape["shape_type"])
        value = iou(drawn, np.any(masks, axis=0))
        worst = min(worst, value)
        print(
            f"{entry['file_name']}: {len(masks)} masks in COCO, {len(file.shapes)} shapes in labelme, IoU {value:.4f}"
        )
    if worst < 0.97:
        raise SystemExit("The masks of the two formats differ.")


if __name__ == "__main__":
    main()
